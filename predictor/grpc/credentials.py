"""TLS of gRPC's port: the certificate that HTTP's has, and when that was read again, the new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from predictor.http.tls import Certificate


def credentials(certificate: Certificate) -> grpc.ServerCredentials:
    """Return credentials that each new connection has the certificate by that was read last."""
    known = certificate.pem

    def fetch() -> grpc.ssl_server_certificate_configuration | None:  # in a thread of gRPC's, at each handshake
        nonlocal known
        if certificate.pem is known:
            return None
        known = certificate.pem
        return _configuration(known)

    return grpc.dynamic_ssl_server_credentials(_configuration(known), fetch, require_client_authentication=False)


def _configuration(pem: tuple[bytes, bytes]) -> grpc.ssl_server_certificate_configuration:
    return grpc.ssl_server_certificate_configuration([pem])
