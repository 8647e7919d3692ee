"""`python -m chaos --help`, `… long --help` and `… reloads --help`, from the project's folder."""

import sys

if __name__ == "__main__":
    verb = sys.argv[1:2]
    if verb == ["long"]:
        from chaos.long_run import main
    elif verb == ["reloads"]:
        from chaos.reloads import main
    else:
        from chaos.run import main
    sys.exit(main(sys.argv[2:] if verb in (["long"], ["reloads"]) else sys.argv[1:]))
