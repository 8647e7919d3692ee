"""`python -m chaos --help` and `python -m chaos long --help`, from the project's folder."""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["long"]:
        from chaos.long_run import main
    else:
        from chaos.run import main
    sys.exit(main(sys.argv[2:] if sys.argv[1:2] == ["long"] else sys.argv[1:]))
