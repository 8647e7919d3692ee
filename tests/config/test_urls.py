"""The proxy on the way to an endpoint, by the customary variables."""

from __future__ import annotations

import pytest

from predictor.config.settings import SettingsError, load
from predictor.config.urls import proxy

PROXY = {"HTTP_PROXY": "http://plain:3128", "HTTPS_PROXY": "http://user:word@tls:3128"}


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, "http://otel:4318", None),
        (PROXY, "http://otel:4318", "http://plain:3128"),
        (PROXY, "https://otel:4318", "http://user:word@tls:3128"),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:2"}, "http://otel", "http://b:2"),
        ({"http_proxy": "plain:3128"}, "http://otel", "http://plain:3128"),
        ({"ALL_PROXY": "http://all:1"}, "https://otel", "http://all:1"),
        ({"HTTPS_PROXY": "http://tls:1"}, "http://otel", None),
        (PROXY, "http://127.0.0.1:4318", None),
        (PROXY, "http://[::1]:4318", None),
        (PROXY, "http://localhost:4318", None),
        (PROXY | {"NO_PROXY": "*"}, "http://otel", None),
        (PROXY | {"NO_PROXY": "other, otel"}, "http://otel:4318", None),
        (PROXY | {"no_proxy": "OTEL"}, "http://otel:4318", None),
        (PROXY | {"NO_PROXY": "otel:4318"}, "http://otel:4318", None),
        (PROXY | {"NO_PROXY": "otel:4317"}, "http://otel:4318", "http://plain:3128"),
        (PROXY | {"NO_PROXY": ".svc.cluster.local"}, "http://otel.svc.cluster.local", None),
        (PROXY | {"NO_PROXY": "example.com"}, "http://otel.example.com", None),
        (PROXY | {"NO_PROXY": "*.example.com"}, "http://otel.example.com", None),
        (PROXY | {"NO_PROXY": "example.com"}, "http://notexample.com", "http://plain:3128"),
        (PROXY | {"NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3:4318", None),
        (PROXY | {"NO_PROXY": "10.0.0.0/8, fd00::/8"}, "http://[fd00::1]:4318", None),
        (PROXY | {"NO_PROXY": "10.0.0.0/8,name"}, "http://11.1.2.3:4318", "http://plain:3128"),
        (PROXY | {"NO_PROXY": "10.1.2.3"}, "http://10.1.2.3", None),
    ],
)
def test_proxy(environ: dict[str, str], url: str, expected: str | None) -> None:
    """A proxy is chosen by scheme, and none for this machine nor for what NO_PROXY names."""
    assert proxy(environ, url) == expected


@pytest.mark.parametrize("given", ["socks5://user:secret@proxy:1080", "http://user:se/secret@proxy", "http://"])
def test_proxy_that_cannot_be_used(given: str) -> None:
    """A proxy that is no HTTP proxy stops the start by the variable's name, and its value is not repeated."""
    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY is not shown, wanted a proxy's http://") as told:
        load({"HTTPS_PROXY": given, "OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel:4318"})
    assert "secret" not in str(told.value)
    assert load({"HTTPS_PROXY": given}).export.logs is None, "nothing leaves, so no proxy matters"


def test_a_proxys_password_is_not_shown() -> None:
    """Where settings are shown a proxy is not."""
    target = load(PROXY | {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel:4318"}).export.logs
    assert target
    assert target.proxy == "http://user:word@tls:3128"
    assert "word" not in repr(target)
