"""Check what kustomize renders: strict schemas of several Kubernetes versions, and checkov.

Without arguments: every overlay, as it is and with all further components, and every combination of components on the
base (schemas only); an exception in kustomize/checkov.yaml that nothing needs any more is a fault too.
With arguments: those files of YAML.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.manifests import policy, rendering
from scripts.manifests.judge import Judge
from scripts.manifests.rendering import RenderingError
from scripts.manifests.schemas import Schemas, definitions


def main(files: list[str]) -> int:
    """Return the exit status: 0 if nothing is wrong."""
    judge = Judge(Schemas(definitions()), policy.findings, policy.exceptions())
    try:
        if files:
            for name in files:
                text = Path(name).read_text()
                judge.schemas(name, text)
                judge.policy(name, text)
        else:
            everything(judge)
    except RenderingError as error:
        judge.fault(str(error))
    for sentence in judge.faults:
        say(sentence)
    return 1 if judge.faults else 0


def everything(judge: Judge) -> None:
    """Show the judge all that the folder kustomize can make."""
    for name in rendering.overlays():
        every = {f"{name} with all components, {models}": rendering.full(name, models) for models in rendering.MODELS}
        for where, text in ({name: rendering.overlay(name)} | every).items():
            say(f"Overlay {where}: schemas and checkov.")
            judge.schemas(where, text)
            judge.policy(where, text)
    judge.unneeded()
    combinations = list(rendering.combinations())
    say(f"{len(combinations)} combinations of components: schemas.")
    with ThreadPoolExecutor() as pool:  # each is a process of kustomize's
        for chosen, text in zip(combinations, pool.map(rendering.combined, combinations), strict=True):
            judge.schemas("+".join(chosen), text)


def say(sentence: str) -> None:
    """Print a sentence where it does not wait for others."""
    sys.stderr.write(f"{sentence}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
