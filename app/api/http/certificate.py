"""The certificate of this worker's own TLS: read again when its files change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from app.errors import SettingRefused

log = logging.getLogger(__name__)

LOOKED_AT_EVERY_S = 5.0

_Stamp = tuple[tuple[int, int, int], ...]


class Certificate:
    """The context for connections that begin now."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        """Read both files. Raises SettingRefused, naming the variables, when they are no pair."""
        self._files = (cert_file, key_file)
        try:
            self._stamp = self._stamped()
            self.context = self._loaded()
        except OSError as error:
            raise SettingRefused(
                f"METER_HTTP_TLS_CERT_FILE {cert_file} and METER_HTTP_TLS_KEY_FILE {key_file} "
                f"are no certificate with its key: {error}"
            ) from error

    def look(self) -> None:
        """Read the files again if they changed; while they are no pair, the old one stays."""
        try:
            stamp = self._stamped()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self.context = self._loaded()
            log.info("The certificate %s was read again", self._files[0])
        except OSError as error:
            log.warning("The certificate %s stays the old one: %s", self._files[0], error)

    def _stamped(self) -> _Stamp:
        found = [path.stat() for path in self._files]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)

    def _loaded(self) -> ssl.SSLContext:
        # A new one: half of a pair would spoil the one in use.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(*self._files)
        return context
