"""Grafana's dashboards as they are deployed, and their queries as Grafana sends them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "otel" / "grafana"
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "dashboards").glob("*.json"))
}
"""By file name."""


class Query(NamedTuple):
    """One query of a panel or an annotation, with Grafana's variables in it."""

    board: str
    panel: str
    ref: str
    kind: str
    """`instant`, `range` for numbers over time, `logs`."""
    text: str

    def filled(self, **variables: str) -> str:
        """Return it with values for its variables, as Grafana puts them in; one that is left over is an error."""
        text = self.text
        for name, value in variables.items():
            text = text.replace(f"${{{name}}}", value)
            text = re.sub(rf"\${name}\b", lambda _, value=value: value, text)  # type: ignore[misc]
        assert "$" not in text, text
        return text


def panels(board: str) -> list[dict[str, Any]]:
    """Return a dashboard's panels; none is hidden in a collapsed row."""
    found: list[dict[str, Any]] = BOARDS[board]["panels"]
    assert not any(panel.get("panels") for panel in found)
    return found


def queries() -> Iterator[Query]:
    """Yield every query of Loki."""
    for board, content in BOARDS.items():
        for each in content["annotations"].get("list", []):
            yield Query(board, each["name"], "annotation", "logs", each["expr"])
        for panel in panels(board):
            for target in panel.get("targets", []):
                if target["datasource"]["type"] == "loki":
                    numbers = "_over_time(" in target["expr"] or "rate(" in target["expr"]
                    kind = target["queryType"] if numbers else "logs"
                    yield Query(board, panel["title"], target["refId"], kind, target["expr"])


def provisioned(file: str) -> dict[str, Any]:
    """Return a provisioning file as Grafana reads it: `$$` is a `$`, and no variable of the environment is named."""
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert "$" not in text.replace("$$", ""), "Grafana would look for it in its environment"
    found: dict[str, Any] = yaml.safe_load(text.replace("$$", "$"))
    return found


def data_source(uid: str) -> dict[str, Any]:
    """Return a provisioned data source."""
    (found,) = (each for each in provisioned("datasources.yaml")["datasources"] if each["uid"] == uid)
    assert isinstance(found, dict)
    return found


def variables(board: str) -> set[str]:
    """Return the names of a dashboard's variables."""
    return {each["name"] for each in BOARDS[board]["templating"]["list"]}


def choices(board: str, variable: str) -> list[str]:
    """Return the values of a variable whose choices have names."""
    (found,) = (each for each in BOARDS[board]["templating"]["list"] if each["name"] == variable)
    return [choice.partition(" : ")[2] for choice in found["query"].split(",")]
