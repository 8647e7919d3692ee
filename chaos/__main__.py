"""`python -m chaos --help` and `python -m chaos long --help`, from the project's folder."""

import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent

if __name__ == "__main__":
    # What the tests have proven and this builds on: ledger, Collector, server, Loki.
    sys.path[1:1] = [str(_ROOT / "tests"), str(_ROOT / "scripts" / "manifests")]
    if sys.argv[1:2] == ["long"]:
        from chaos.long_run import main
    else:
        from chaos.run import main
    sys.exit(main(sys.argv[2:] if sys.argv[1:2] == ["long"] else sys.argv[1:]))
