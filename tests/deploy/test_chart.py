"""The Helm chart: values are checked, templates use what there is, documents are Kubernetes'.

`rendered` has what helm makes of each file of values. `python -m tests.deploy.test_chart` writes it
anew after a change of the chart; the difference is then to be read. `make .meter/tools/helm` gets
helm. Each rendering names what it was made of, so that an older one is found where helm is missing.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from app.settings import Settings, unknown_variables

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "meterstream"
TEMPLATES = {path.name: path.read_text() for path in sorted((CHART / "templates").iterdir())}
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SHAPES = sorted((CHART / "ci").glob("*-values.yaml"))
SCHEMA = Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))
HELM = shutil.which("helm", path=f"{ROOT / '.meter' / 'tools'}:/usr/bin:/usr/local/bin")
RENDERED = Path(__file__).parent / "rendered"
CUSTOM = yaml.safe_load((Path(__file__).parent / "custom_resources.yaml").read_text())
VERSION = "1.31"
"""Of Kubernetes, whose schemas the documents are held to."""
# A helm that was built from source takes itself to talk to a Kubernetes of long ago.
TEMPLATE = [str(HELM), "template", "meter", str(CHART), "--kube-version", VERSION]

each_shape = pytest.mark.parametrize("shape", SHAPES, ids=[path.stem for path in SHAPES])
with_helm = pytest.mark.skipif(HELM is None, reason="helm is not here")


def merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return values | {
        name: merged(values[name], each)
        if isinstance(each, dict) and isinstance(values.get(name), dict)
        else each
        for name, each in more.items()
    }


def wrong(values: dict[str, Any]) -> list[str]:
    return [each.json_path for each in SCHEMA.iter_errors(values)]


def text_of(shape: Path) -> str:
    ran = subprocess.run([*TEMPLATE, "-f", str(shape)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def rendered(shape: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text_of(shape)) if each is not None]


def kept(text: str) -> str:
    """Return what is kept of a rendering: the alerts stand in the kit already."""
    documents = re.split(r"^---\n", text, flags=re.MULTILINE)
    return "---\n".join(each for each in documents if "\nkind: PrometheusRule\n" not in each)


def made_of(shape: Path) -> str:
    """Return the line that names what a rendering is made of: the chart and the values."""
    parts = [
        shape,
        CHART / "Chart.yaml",
        CHART / "values.yaml",
        *sorted((CHART / "templates").iterdir()),
    ]
    whole = hashlib.sha256()
    for part in parts:
        whole.update(f"{part.name} {part.stat().st_size}\n".encode() + part.read_bytes())
    return f"# Made of {whole.hexdigest()}\n"


def kept_path(shape: Path) -> Path:
    return RENDERED / shape.name.replace("-values", "")


def write() -> None:
    for shape in SHAPES:
        kept_path(shape).write_text(made_of(shape) + kept(text_of(shape)))


def test_the_chart_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project["version"]


@each_shape
def test_values_keep_to_the_schema(shape: Path) -> None:
    assert wrong(VALUES) == []
    assert wrong(merged(VALUES, yaml.safe_load(shape.read_text()))) == []


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"replica": 2}, "$"),
        ({"replicas": 0}, "$.replicas"),
        ({"kafka": {"bootstrapServers": ["kafka"]}}, "$.kafka.bootstrapServers[0]"),
        ({"settings": {"GRACE_S": "1"}}, "$.settings"),
        ({"storage": {"size": "20"}}, "$.storage.size"),
        ({"redisUrl": "redis:6379"}, "$.redisUrl"),
        ({"prometheusRule": {"runbookUrl": "docs"}}, "$.prometheusRule.runbookUrl"),
        ({"settings": {"METER_MAX_GROUPS": "abc"}}, "$.settings.METER_MAX_GROUPS"),
        ({"settings": {"METER_REFOLD_SHARE": "half"}}, "$.settings.METER_REFOLD_SHARE"),
    ],
)
def test_a_wrong_value_is_refused(more: dict[str, Any], place: str) -> None:
    assert place in wrong(merged(VALUES, more))


def test_templates_use_the_values_there_are_and_all_of_them() -> None:
    used = set(re.findall(r"\.Values\.([A-Za-z_.]+)", "".join(TEMPLATES.values())))
    for path in used:
        found: Any = VALUES
        for name in path.split("."):
            assert name in found, path
            found = found[name]
    assert set(VALUES) == {path.partition(".")[0] for path in used}


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_opens_it_ends(name: str) -> None:
    tags = re.findall(r"\{\{-?\s*(if|with|range|define|end)\b", TEMPLATES[name])
    assert tags.count("end") * 2 == len(tags)


def test_a_worker_is_set_by_settings_that_there_are() -> None:
    names = re.findall(r"\bMETER_[A-Z_]+", "".join(TEMPLATES.values()))
    shapes = [yaml.safe_load(path.read_text()) for path in SHAPES]
    names += [name for shape in shapes for name in shape.get("settings", {})]
    assert unknown_variables(dict.fromkeys(names, "")) == []


def test_each_setting_that_is_a_number_is_refused_as_another_text() -> None:
    numbers = 0
    for field, schema in Settings.model_json_schema()["properties"].items():
        kinds = {each.get("type") for each in schema.get("anyOf", [schema])}
        name = "METER_" + field.upper().removeprefix("METER_")
        if kinds & {"integer", "number"}:
            numbers += 1
            assert wrong(merged(VALUES, {"settings": {name: "x"}})) == [f"$.settings.{name}"]
            shown = str(schema.get("default") or 7)
            assert wrong(merged(VALUES, {"settings": {name: shown}})) == []
    assert numbers > 20


@with_helm
def test_helm_finds_nothing_wrong() -> None:
    for shape in SHAPES:
        words = [str(HELM), "lint", "--strict", str(CHART), "-f", str(shape)]
        ran = subprocess.run(words, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@with_helm
@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "set tls.secretName to a Secret with tls.crt and tls.key, or trustedProxies"),
        (("tls.secretName=x", "replicas=65"), "65 workers would share 64 partitions"),
        (
            ("tls.secretName=x", "keda.enabled=true", "keda.maxReplicas=65"),
            "65 workers would share 64 partitions",
        ),
        (("tls.secretName=x", "replicas=64"), ""),
        (("tls.secretName=x", "settings.METER_RAW_PARTITIONS=null", "replicas=65"), ""),
    ],
)
def test_what_no_worker_would_start_with_is_not_rendered(more: tuple[str, ...], told: str) -> None:
    words = [*TEMPLATE, *(word for value in more for word in ("--set", value))]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert (told in ran.stderr, ran.returncode) == (True, 1 if told else 0), ran.stderr


@with_helm
@each_shape
def test_documents_are_as_kubernetes_has_them(shape: Path) -> None:
    documents = rendered(shape)
    kinds = [each["kind"] for each in documents]
    more = "webhooks" in yaml.safe_load(shape.read_text())
    assert kinds.count("StatefulSet") == 1 + more
    assert kinds.count("Service") == 2 + more
    for each in documents:
        if each["apiVersion"].partition("/")[0] in ("monitoring.coreos.com", "keda.sh"):
            assert set(each) == {"apiVersion", "kind", "metadata", "spec"}
            wrong = Draft7Validator(CUSTOM[each["kind"]]).iter_errors(each["spec"])
            assert [f"{one.json_path}: {one.message}" for one in wrong] == []
        else:
            kubernetes_validate.validate(each, VERSION, strict=True)
    if "monitoring" in shape.stem:
        (rule,) = (each for each in documents if each["kind"] == "PrometheusRule")
        assert rule["spec"] == yaml.safe_load((CHART / "rules.yaml").read_text())


@with_helm
def test_an_alert_leads_to_the_runbook_that_is_named() -> None:
    (shape,) = (path for path in SHAPES if path.stem == "monitoring-values")
    place = "https://wiki.example/runbook"
    words = [*TEMPLATE, "-f", str(shape), "--set", f"prometheusRule.runbookUrl={place}"]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    documents = yaml.safe_load_all(ran.stdout)
    (rule,) = (each for each in documents if each and each["kind"] == "PrometheusRule")
    shipped = yaml.safe_load((CHART / "rules.yaml").read_text().replace("docs/runbook.md", place))
    assert rule["spec"] == shipped
    (group,) = shipped["groups"]
    assert all(one["annotations"]["runbook_url"].startswith(place) for one in group["rules"])


@with_helm
@each_shape
def test_the_rendering_is_the_one_that_is_kept(shape: Path) -> None:
    assert made_of(shape) + kept(text_of(shape)) == kept_path(shape).read_text()


@each_shape
def test_the_rendering_is_of_this_chart(shape: Path) -> None:
    assert kept_path(shape).read_text().startswith(made_of(shape)), (
        "python -m tests.deploy.test_chart"
    )


def test_every_file_of_values_has_its_rendering() -> None:
    names = {shape.name.replace("-values", "") for shape in SHAPES}
    assert {path.name for path in RENDERED.iterdir()} == names


@with_helm
@pytest.mark.parametrize("name", ["meter", "meter-webhooks"])
def test_a_process_is_not_root_and_stops_in_time(name: str) -> None:
    (shape,) = (path for path in SHAPES if path.stem == "monitoring-values")
    (process,) = (
        each
        for each in rendered(shape)
        if each["kind"] == "StatefulSet" and each["metadata"]["name"] == name
    )
    pod = process["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["terminationGracePeriodSeconds"] == 60
    probes = {"startupProbe", "livenessProbe"}
    assert probes <= set(container)
    assert ("readinessProbe" in container) == (name == "meter")
    mounts = {each["name"] for each in container["volumeMounts"]}
    claims = {each["metadata"]["name"] for each in process["spec"]["volumeClaimTemplates"]}
    assert mounts == {each["name"] for each in pod["volumes"]} | claims
    names = [each["name"] for each in container["env"]]
    assert sorted(names) == sorted(set(names))


@with_helm
def test_no_service_of_the_workers_reaches_the_webhooks() -> None:
    (shape,) = (path for path in SHAPES if path.stem == "monitoring-values")
    documents = rendered(shape)
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in documents
        if each["kind"] == "StatefulSet"
    }
    for each in documents:
        if each["kind"] == "Service":
            selected = {
                name
                for name, labels in pods.items()
                if each["spec"]["selector"].items() <= labels.items()
            }
            of_webhooks = each["metadata"]["name"] == "meter-webhooks"
            assert selected == {"meter-webhooks" if of_webhooks else "meter"}


if __name__ == "__main__":
    write()
