"""Commands ask a worker by https: whom they trust, and what is told of one they do not."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from app.cli.every_worker import EveryWorker
from app.cli.exits import NoVerdict
from app.cli.main import cli
from app.cli.remote import Remote
from app.settings import HOST

ELSEWHERE = "https://elsewhere.example/api/v1/plans"


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if "plans" in self.path:
            self.send_response(308)
            self.send_header("Location", ELSEWHERE)
            self.end_headers()
            return
        body = b'{"billable_metrics":[],"meta":{"total_count":0,"next_page":null}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        reached = b'{"records_read":1,"records_total":1,"partitions":[0],"of_partitions":1}'
        self.wfile.write(b'{"peers":[]}\n' + reached + b"\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    return tmp_path / "ca.pem"


@pytest.fixture
def url(ca_file: Path) -> Iterator[str]:
    """What answers as a worker with a certificate of an authority of its own."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    with HTTPServer((HOST, 0), _Answering) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_worker_of_this_machine_that_has_a_certificate_is_asked_by_https(
    url: str, ca_file: Path
) -> None:
    environment = {
        "METER_PROFILE": "local",
        "METER_PEER_CA_FILE": str(ca_file),
        "METER_HTTP_PORT": url.rpartition(":")[2],
        "METER_HTTP_TLS_CERT_FILE": str(ca_file),
        "METER_HTTP_TLS_KEY_FILE": str(ca_file),
    }
    answer = CliRunner(env=environment).invoke(cli, ["list", "metrics"])
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize("by", ["--url", "context"])
def test_the_authority_of_the_workers_is_trusted(
    by: str, url: str, ca_file: Path, tmp_path: Path
) -> None:
    runner = CliRunner(env={"METER_PEER_CA_FILE": str(ca_file), "XDG_CONFIG_HOME": str(tmp_path)})
    named = ["--url", url]
    if by == "context":
        assert runner.invoke(cli, ["context", "add", "own", "--url", url]).exit_code == 0
        named = ["--context", "own"]
    answer = runner.invoke(cli, ["list", "metrics", *named])
    assert answer.exit_code == 0, answer.output


def test_a_redirect_is_told_and_not_followed(url: str, ca_file: Path) -> None:
    runner = CliRunner(env={"METER_PEER_CA_FILE": str(ca_file)})
    answer = runner.invoke(cli, ["list", "plans", "--url", url])
    assert answer.exit_code != 0
    assert f"leads on to {ELSEWHERE}. Name that URL instead." in answer.stderr


def test_another_authority_is_not_trusted_and_its_setting_is_named(url: str) -> None:
    answer = CliRunner().invoke(cli, ["list", "metrics", "--url", url])
    assert answer.exit_code == 3
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"Error: The certificate of {url} is not one that we trust")
    assert "Name its authority in METER_PEER_CA_FILE" in line


async def test_who_asks_every_worker_trusts_it_as_well(
    url: str, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = EveryWorker("/verify", {}, lambda *_: True, "asking")
    with pytest.raises(NoVerdict, match="METER_PEER_CA_FILE"):
        await asking.ask([Remote(url, "key")])
    monkeypatch.setenv("METER_PEER_CA_FILE", str(ca_file))
    await asking.ask([Remote(url, "key")])


def test_a_file_of_no_authority_is_named(url: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    for file in (broken, tmp_path / "nope"):
        runner = CliRunner(env={"METER_PEER_CA_FILE": str(file)})
        answer = runner.invoke(cli, ["list", "metrics", "--url", url])
        assert answer.exit_code == 2
        assert answer.stderr.startswith(f"Error: METER_PEER_CA_FILE {file} cannot be used")


_NO_KEYS = [b"", b" \n", b"secret\nk2\n", b"secret\xff\xfe", "secretđ".encode(), b"secret\x07"]


@pytest.mark.parametrize("content", _NO_KEYS)
def test_a_file_of_no_key_is_named_and_its_content_is_not(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    runner = CliRunner(env={"XDG_CONFIG_HOME": str(tmp_path)})
    given = ["--url", "http://127.0.0.1:1", "--key-file", str(file)]
    assert runner.invoke(cli, ["context", "add", "own", *given]).exit_code == 0
    for named in (["--key-file", str(file)], ["--context", "own"]):
        answer = runner.invoke(cli, ["list", "metrics", *named])
        assert (answer.exit_code, answer.stdout) == (2, ""), answer.output
        assert f"{file} holds no API key" in answer.stderr
        assert "secret" not in answer.output


@pytest.mark.parametrize("name", ["METER_API_KEY", "METER_API_KEYS"])
@pytest.mark.parametrize("key", ["secret\nk2", "secretđ", "secret\udcff"])
@pytest.mark.parametrize("words", [["list", "metrics"], ["verify"], ["watch", "--once"]])
def test_a_key_of_no_header_is_not_repeated(name: str, key: str, words: list[str]) -> None:
    text = key if name == "METER_API_KEY" else f"organization:{key}"
    environment = {name: text, "METER_PROFILE": "local", "METER_OPEN_PAGE": "false"}
    answer = CliRunner(env=environment).invoke(cli, words)
    assert answer.exit_code == 2, answer.output
    assert "holds no API key: that is one line" in answer.stderr
    assert "secret" not in answer.output


@pytest.mark.parametrize(
    ("status", "exit_code"), [(429, 3), (500, 3), (503, 3), (403, 1), (404, 4)]
)
def test_a_worker_that_cannot_answer_now_leaves_it_open(status: int, exit_code: int) -> None:
    """1 would say that something differs or is missing."""

    class Refusing(_Answering):
        def do_GET(self) -> None:
            body = b'{"status":%d,"error":"x","code":"not_now"}' % status
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer((HOST, 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        runner = CliRunner(env={"METER_URL": f"http://{HOST}:{server.server_port}"})
        commands = (["usage", "s"], ["list", "plans"], ["records", "s"], ["trace", "s", "t"])
        answers = [runner.invoke(cli, words) for words in commands]
        server.shutdown()
        thread.join()
    assert {answer.exit_code for answer in answers} == {exit_code}


@pytest.mark.parametrize("url", ["http://", "https://:1", "http://h:x", "http://h:1/\n", "h:1"])
def test_a_url_of_no_worker_is_wrong_usage(url: str, tmp_path: Path) -> None:
    runner = CliRunner(env={"METER_URL": url, "XDG_CONFIG_HOME": str(tmp_path)})
    for words in (["list", "metrics"], ["context", "add", "own", "--url", url]):
        answer = runner.invoke(cli, words)
        assert answer.exit_code == 2, answer.output
        assert "is no http or https URL" in answer.stderr
    assert not [*tmp_path.iterdir()]
