"""TLS to callers: the context that listening sockets have, and its certificate read again."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Certificate:
    """The certificate of the server, as files say."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """Read the files (PEM; the key may be in the certificate's); raises ValueError with a sentence."""
        self._files = certificate, key
        self.context = self._read(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        """For listening sockets; new connections have what was read last."""
        self.context.set_alpn_protocols(["http/1.1"])

    def renew(self) -> None:
        """Read the files again; raises ValueError, and then what was read before stays."""
        self._read(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))  # tried first: half a pair would serve nobody
        self._read(self.context)

    def _read(self, context: ssl.SSLContext) -> ssl.SSLContext:
        certificate, key = self._files
        try:
            # Without a password OpenSSL would ask for it at the terminal, and wait.
            context.load_cert_chain(certificate, key, password=lambda: b"\0")
            self.pem = (key or certificate).read_bytes(), certificate.read_bytes()
            """The key, and the certificate with its chain, for who has no use for a context."""
        except (OSError, ValueError) as error:  # SSLError is an OSError
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            named = f"PREDICTOR_TLS_CERTIFICATE is {str(certificate)!r}"
            named += f" and PREDICTOR_TLS_KEY is {str(key)!r}" if key else ", without PREDICTOR_TLS_KEY"
            msg = f"{named}, wanted PEM files of a certificate and its unencrypted key: {words}"
            raise ValueError(msg) from None
        return context
