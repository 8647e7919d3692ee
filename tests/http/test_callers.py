"""Who may call: web pages from elsewhere, other names for this machine, tokens. Both doors refuse the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from predictor.config.settings import SettingsError, load
from predictor.server import app
from tests.support.server import first, message, predictions, problem, records, serve

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Answer

_ROW = b'{"data":[[6.7,3.0,5.2,2.3]]}'
_SAID = b'{"label":"virginica"}'
_FEEDBACK = "/feedback/01a206a5-7cf9-7f24-8992-729b23f48647"
_JSON = {"Content_Type": "application/json"}
_TOKEN, _OTHER, _THIRD = "0123456789abcdef", "fedcba9876543210", "feedback-feedback"
LOGGING = [
    ("POST", "/predict", _ROW),
    ("POST", "/predict/label", _ROW),
    ("POST", "/predict/batch", _ROW),
    ("GET", "/predict/test", b""),
    ("GET", "/predict/test/label", b""),
    ("POST", _FEEDBACK, _SAID),
]
"""Every call that writes into the log."""
_DEFAULT = {"PREDICTOR_ALLOWED_HOSTS": "", "PREDICTOR_FEEDBACK": "true"}
pytestmark = pytest.mark.parametrize("door", ["lane", "aiohttp"], indirect=True)


def asked(method: str, path: str, body: bytes = b"", /, **headers: str | None) -> bytes:
    """Return a request for a loopback name, with a Content-Type if it has a body."""
    fields = {"Host": "127.0.0.1:8000"} | (_JSON if body else {}) | headers
    return message(method, path, body, **fields)


def logged(outbox: Path) -> list[dict[str, Any]]:
    """Return the records that callers have made."""
    return [each for each in records(outbox) if each["eventName"] in {"prediction", "prediction.feedback"}]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
async def test_a_page_from_elsewhere_logs_nothing(outbox: Path, headers: dict[str, str]) -> None:
    """Whatever a web page from elsewhere has a browser send, nothing is predicted, and the log holds nothing of it."""
    async with serve(outbox, **_DEFAULT) as here:
        for method, path, body in LOGGING:
            for more in (_JSON, {"Content_Type": "text/plain"}, {"Content_Type": None}):
                answer = await first(here.port, asked(method, path, body, **more, **headers))
                assert "PREDICTOR_CORS_ORIGINS" in problem(answer, 403, "forbidden")
                assert "Access-Control-Allow-Origin" not in answer.headers
    assert logged(outbox) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:8000"},
        {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://predictor.example", "Sec-Fetch-Site": "same-origin"},  # a proxy that changes Host
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    ],
    ids=str,
)
async def test_own_pages_and_programs_predict(outbox: Path, headers: dict[str, str]) -> None:
    """The server's own page, a person who types the address, and whatever is no browser are answered and logged."""
    async with serve(outbox, **_DEFAULT) as here:
        for method, path, body in LOGGING:
            assert (await first(here.port, asked(method, path, body, **headers))).status == 200
    assert len(logged(outbox)) == len(LOGGING)


async def test_a_browser_declares_what_it_sends(outbox: Path) -> None:
    """A browser's POST has a Content-Type, since one without needs no permission; other programs may go without."""
    own = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    async with serve(outbox, **_DEFAULT) as here:
        for method, path, body in LOGGING:
            if method == "POST":
                for without in (None, ""):
                    answer = await first(here.port, asked(method, path, body, **own | {"Content_Type": without}))
                    assert "a browser must declare" in problem(answer, 415, "unsupported-media-type")
                assert logged(outbox) == []
        assert (await first(here.port, asked("POST", "/predict", _ROW, Content_Type=None))).status == 200


async def test_pages_that_are_named(outbox: Path) -> None:
    """A page that PREDICTOR_CORS_ORIGINS names may ask first, predict and read all answers; others may not."""
    app = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    named = {"PREDICTOR_CORS_ORIGINS": "https://APP.example:443, http://localhost:3000"}
    async with serve(outbox, **_DEFAULT, **named) as here:
        for method, path, body in LOGGING:
            asks = app | {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}
            allowed = await first(here.port, asked("OPTIONS", path, b"", **asks))
            assert (allowed.status, allowed.body) == (204, b"")
            assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert allowed.headers["Access-Control-Allow-Methods"] == method
            names = allowed.headers["Access-Control-Allow-Headers"].lower().split(", ")
            assert {"content-type", "authorization", "x-request-id", "traceparent"} <= set(names)
            others = asks | {"Origin": "https://a.b"}
            assert (await first(here.port, asked("OPTIONS", path, b"", **others))).status == 405
            answer = await first(here.port, asked(method, path, body, **app))
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert "X-Trace-Id" in answer.headers["Access-Control-Expose-Headers"]
            assert answer.headers["Vary"] == "Origin"
            wrong = await first(here.port, asked(method, path, body, **app | {"Origin": "https://app.example.evil"}))
            problem(wrong, 403, "forbidden")
            assert "Access-Control-Allow-Origin" not in wrong.headers
            assert wrong.headers["Vary"] == "Origin"
        refused = await first(here.port, asked("POST", "/predict", b"{", **app))
        assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example"
        problem(refused, 400, "invalid-json")
        private = asks | {"Access-Control-Request-Private-Network": "true"}
        allowed = await first(here.port, asked("OPTIONS", "/predict", b"", **private))
        assert allowed.headers["Access-Control-Allow-Private-Network"] == "true"
        assert "Access-Control-Allow-Origin" not in (await first(here.port, asked("GET", "/", b"", **app))).headers


async def test_any_page(outbox: Path) -> None:
    """With `*` every page may, one without an origin of its own included."""
    async with serve(outbox, **_DEFAULT, PREDICTOR_CORS_ORIGINS="*") as here:
        for origin in ("https://a.b", "null"):
            answer = await first(here.port, asked("POST", "/predict", _ROW, Origin=origin))
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)


async def _by_name(port: int, host: str | None) -> list[Answer]:
    more = [("GET", path, b"") for path in ("/metadata", "/readyz", "/", "/page/page.js", "/nothing")]
    return [await first(port, asked(*call, Host=host)) for call in (*LOGGING, *more)]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "", "[::2]", "192.0.2.1", "["])
async def test_a_name_that_points_here(outbox: Path, host: str) -> None:
    """On loopback no call is answered under a name of elsewhere (DNS rebinding), and nothing is logged of it."""
    async with serve(outbox, **_DEFAULT) as here:
        for answer in await _by_name(here.port, host):
            assert "PREDICTOR_ALLOWED_HOSTS" in problem(answer, 421, "misdirected-request")
    assert logged(outbox) == []


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1", "127.9.9.9"])
async def test_loopback_names(outbox: Path, host: str) -> None:
    """On loopback every call is answered under loopback's names and addresses."""
    async with serve(outbox, **_DEFAULT) as here:
        assert {answer.status for answer in await _by_name(here.port, host)} == {200, 404}
    assert len(logged(outbox)) == len(LOGGING)


async def test_names_that_are_allowed(outbox: Path) -> None:
    """PREDICTOR_ALLOWED_HOSTS names others, for the page too; on an address that all reach, addresses pass."""
    names = {"PREDICTOR_FEEDBACK": "true", "PREDICTOR_ALLOWED_HOSTS": "Predictor.example, other"}
    for where, address in (("127.0.0.1", 421), ("0.0.0.0", 200)):
        async with serve(outbox.with_name(where), **names, PREDICTOR_HOST=where) as here:
            for host, status in (
                ("predictor.EXAMPLE:80", 200),
                ("other", 200),
                ("x.other", 421),
                ("192.0.2.1", address),
            ):
                assert (await first(here.port, asked("POST", "/predict", _ROW, Host=host))).status == status
            page = await first(here.port, asked("GET", "/", Host="other"))
            assert page.status == (200 if where == "127.0.0.1" else 404)


async def test_where_all_may_ask(outbox: Path) -> None:
    """A server that listens everywhere answers under every name unless it is told which."""
    async with serve(outbox, **_DEFAULT, PREDICTOR_HOST="0.0.0.0") as here:
        assert (await first(here.port, asked("POST", "/predict", _ROW, Host="predictor.example"))).status == 200


async def test_tokens(outbox: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Predictions want one of the tokens; without, nothing is logged, and the wrong ones are counted and said once."""
    (tmp_path / "tokens").write_text(f"# ours\n{_TOKEN}\n\n  {_OTHER} \r\n")
    async with serve(outbox, **_DEFAULT, PREDICTOR_TOKEN_FILE=str(tmp_path / "tokens")) as here:
        for method, path, body in LOGGING:
            for wrong in (None, "", _TOKEN, f"Basic {_TOKEN}", f"Bearer {_TOKEN}x", "Bearer", "Bearer \udcff"):
                answer = await first(here.port, asked(method, path, body, Authorization=wrong))
                assert "PREDICTOR_TOKEN_FILE" in problem(answer, 401, "unauthorized")
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert logged(outbox) == []
        for method, path, body in LOGGING:
            for right in (f"Bearer {_TOKEN}", f"bearer  {_OTHER}"):
                assert (await first(here.port, asked(method, path, body, Authorization=right))).status == 200
        assert (await first(here.port, asked("GET", "/metadata"))).status == 200
    said = [line for line in caplog.messages if "right token" in line]
    assert said == ["calls refused without a right token so far: 1 (PREDICTOR_TOKEN_FILE)"] * 2
    assert _TOKEN not in caplog.text


async def test_feedback_has_tokens_of_its_own(outbox: Path, tmp_path: Path) -> None:
    """What opens predictions does not open feedback, nor the other way round, once feedback has a token itself."""
    (tmp_path / "tokens").write_text(_TOKEN)
    (tmp_path / "feedback").write_text(_THIRD)
    for mine in (
        {"PREDICTOR_FEEDBACK_TOKEN_FILE": str(tmp_path / "feedback")},
        {"PREDICTOR_FEEDBACK_TOKEN": _THIRD},
    ):
        async with serve(outbox, **_DEFAULT, **mine, PREDICTOR_TOKEN_FILE=str(tmp_path / "tokens")) as here:
            for token, predicts, says in ((_TOKEN, 200, 401), (_THIRD, 401, 200)):
                bearer = {"Authorization": f"Bearer {token}"}
                assert (await first(here.port, asked("POST", "/predict", _ROW, **bearer))).status == predicts
                assert (await first(here.port, asked("POST", _FEEDBACK, _SAID, **bearer))).status == says


async def test_control_has_tokens_of_its_own(outbox: Path, tmp_path: Path) -> None:
    """Without a file nobody may load models; with one its tokens count, also those that came since, and no others."""
    file = tmp_path / "control"
    async with serve(outbox) as here:
        assert here.app[app.CALLERS].access.control_tokens is None
    file.write_text(_TOKEN)
    async with serve(outbox, PREDICTOR_CONTROL_TOKEN_FILE=str(file)) as here:
        tokens = here.app[app.CALLERS].access.control_tokens
        assert tokens is not None
        assert (tokens.include(f"Bearer {_TOKEN}"), tokens.include(f"Bearer {_OTHER}")) == (True, False)
        file.write_text(_OTHER)
        app.reload(here.app)
        assert (tokens.include(f"Bearer {_TOKEN}"), tokens.include(f"Bearer {_OTHER}")) == (False, True)
        assert (await first(here.port, asked("POST", "/predict", _ROW))).status == 200


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("short", "line 1 of .* is not a token, wanted 16 or more ASCII characters"),
        (f"{_TOKEN}\nwith a space in it all", "line 2 of .* is not a token"),
        ("# none\n", "it holds none"),
        (None, "No such file or directory"),
    ],
)
async def test_a_token_file_that_cannot_be_used(outbox: Path, tmp_path: Path, content: str | None, said: str) -> None:
    """A file without tokens, or with one that is too short, stops the start with a sentence that shows none."""
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    for variable in ("PREDICTOR_TOKEN_FILE", "PREDICTOR_FEEDBACK_TOKEN_FILE", "PREDICTOR_CONTROL_TOKEN_FILE"):
        with pytest.raises(ValueError, match=f"{variable}.*{said}") as caught:
            async with serve(outbox, **{variable: str(file)}):
                pass
        assert "space" not in str(caught.value).partition("no space")[0]


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("PREDICTOR_CORS_ORIGINS", each)
        for each in ("app.example", "https://app.example/", "https://app.example/x", "null", "https://a b", ",")
    ]
    + [("PREDICTOR_ALLOWED_HOSTS", each) for each in ("http://a", "a:80", "a b", "a,,b")],
)
def test_what_is_no_origin_and_no_name(variable: str, given: str) -> None:
    """What no browser would send as an origin or a name stops the start with one sentence."""
    with pytest.raises(SettingsError, match=f"{variable} is .* wanted"):
        load({variable: given})


async def test_predictions_are_logged_as_before(outbox: Path) -> None:
    """A request that passes has its record, whatever was refused before it over the same connection."""
    async with serve(outbox, **_DEFAULT) as here:
        foreign = asked("POST", "/predict", _ROW, Origin="http://evil.example")
        for _ in range(3):
            assert (await first(here.port, foreign)).status == 403
            assert (await first(here.port, asked("POST", "/predict", _ROW))).status == 200
        assert here.server.answered_by_lane in {0, 3}
    assert len(predictions(outbox)) == 3
