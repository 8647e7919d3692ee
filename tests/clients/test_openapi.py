"""The OpenAPI document is valid by another's validator, and schemathesis finds no answer that it does not describe."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.api.test_openapi import TOKEN, few_models
from tests.support.protocol_clients import python_of
from tests.support.server import ROOT, Server, predictions, run

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE = 300.0  # s; the machine may be busy
_EXAMPLES = "10"
_LEFT_OUT = (
    "/unload$",  # the calls behind it would have no model
    "^/v1/models/scalars:predict$",  # a model without rows: no body is right
)


def program(module: str) -> tuple[Path, str, str]:
    """Return a program of the environment that `make clients` fills; skips the test if it is not there."""
    return python_of("openapi"), "-m", module


def test_document_is_valid(tmp_path: Path) -> None:
    """openapi-spec-validator takes the document of a few models, with and without tokens, page and feedback."""
    validator = program("openapi_spec_validator")
    models = few_models(tmp_path / "models")
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    more = {
        f"PREDICTOR_{name}": str(tokens) for name in ("TOKEN_FILE", "FEEDBACK_TOKEN_FILE", "CONTROL_TOKEN_FILE")
    } | {"PREDICTOR_FEEDBACK": "true", "PREDICTOR_PAGE": "off", "PREDICTOR_ROWS_PER_SECOND": "9"}
    for settings in ({}, more):
        printed = run("openapi", str(models), outbox=tmp_path / "outbox", **settings)
        assert printed.returncode == 0, printed.stderr
        document = tmp_path / "openapi.json"
        document.write_text(printed.stdout)
        done = subprocess.run(
            [*validator, "--schema", "3.1", document], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("lane", ["on", "off"])
def test_schemathesis(tmp_path: Path, lane: str) -> None:
    """Whatever schemathesis sends, each answer is a documented one, and the server has no fault of its own."""
    schemathesis = program("schemathesis.cli")
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    settings = {f"PREDICTOR_{name}": str(tokens) for name in ("TOKEN_FILE", "CONTROL_TOKEN_FILE")} | {
        "PREDICTOR_MODEL": str(few_models(tmp_path / "models")),
        "PREDICTOR_DEFAULT_MODEL": "iris",
        "PREDICTOR_FEEDBACK": "true",
        "PREDICTOR_PAGE": "off",
        "PREDICTOR_FAST_LANE": lane,
    }
    with Server(tmp_path / "outbox", **settings) as server:
        done = subprocess.run(
            [
                *schemathesis,
                *("--config-file", ROOT / "tests" / "clients" / "schemathesis.toml"),
                *("run", f"{server.url}/openapi.json", "--no-color", "--generation-deterministic"),
                *("--max-examples", _EXAMPLES, "--phases", "examples,coverage,fuzzing"),
                *("--header", f"Authorization: Bearer {TOKEN}"),
                *(part for path in _LEFT_OUT for part in ("--exclude-path-regex", path)),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-9000:] + done.stderr[-2000:]
    assert not [line for line in server.stderr_lines if '"error"' in line]
    assert predictions(tmp_path / "outbox")
