"""Write dashboards/*.json: `python -m otel.grafana.dashboards`, or into another folder that is named.

The files are committed, since Grafana reads them; a test holds them to what is written here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from otel.grafana import health, known, predictions, trace_view, variables

FOLDER = Path(__file__).parent / "dashboards"


def main() -> None:
    """Write one file a dashboard, named after its uid."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for built in (predictions.build(known.models()), health.build(), trace_view.build()):
        board = built.tags([variables.TAG]).timezone("browser").readonly().links(variables.links()).build()
        for number, panel in enumerate(board.panels or [], start=1):
            panel.id_val = number
        text = json.dumps(board, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False)
        (folder / f"{board.uid}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
