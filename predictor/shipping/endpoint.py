"""An endpoint from the environment's words: URL, headers, and whom to trust."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from predictor.shipping.otlp_http import Endpoint

if TYPE_CHECKING:
    from predictor.config.otel_env import Target


def endpoint(target: Target) -> Endpoint:
    """Return where a signal goes, its certificates read; raises OSError (ssl.SSLError is one)."""
    context = None
    if target.url.startswith("https:"):
        try:
            context = ssl.create_default_context(cafile=target.certificate)
            if target.client_certificate:
                context.load_cert_chain(target.client_certificate, target.client_key)
        except OSError as error:
            files = (target.certificate, target.client_certificate, target.client_key)
            names = ", ".join(str(file) for file in files if file)
            msg = (
                f"the certificates for {Endpoint(target.url).shown} cannot be used ({names}): {error.strerror or error}"
            )
            raise OSError(error.errno, msg) from error
    return Endpoint(target.url, target.headers, target.timeout, context, gzip=target.gzip, proxy=target.proxy)
