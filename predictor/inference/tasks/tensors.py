"""Tensors: any named inputs and outputs, which mean to the caller what they mean; the record has them as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.inference.batch_trial import Mode
from predictor.inference.checked_file import Checked
from predictor.inference.onnx_graph import shapeless_inputs
from predictor.inference.outputs import Outputs
from predictor.inference.signature import DTYPES
from predictor.inference.tensor_trial import try_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.core.features import Log
    from predictor.inference.batch_trial import Parts
    from predictor.inference.manifest import Gives, Manifest
    from predictor.inference.onnx_session import Session
    from predictor.inference.table_input import Feed
    from predictor.inference.tensor_trial import Found

NAME = "tensors"


class Tensors:
    """The file's own outputs, and nothing that is made of them."""

    name = NAME
    gives: Gives = "tensors"
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    def __init__(self, run: Checked, found: Found, shapeless: frozenset[str]) -> None:
        """Take what gives the outputs, how requests run, and the inputs that have no declared shape."""
        self.checked = run
        self.found = found
        self.shapeless = shapeless

    def answer(self, parts: Parts) -> Outputs:  # noqa: ARG002 - the file's own outputs are all there is
        """Return nothing beside the file's own outputs."""
        return Outputs(None, None, None, None)


def load(session: Session, content: bytes, most: int) -> Tensors:
    """Return the task for a file of any tensors; up to `most` rows may run together; raises ModelError."""
    inputs, outputs = session.signature
    for what, specs in (("input", inputs), ("output", outputs)):
        if strange := next((spec for spec in specs if not spec.is_tensor), None):
            session.refuse(
                f"its {what} {strange.name!r} is a {strange.datatype}; wanted tensors of "
                f"{', '.join(DTYPES)}: nothing else, no sequence and no map, has a form in requests and records"
            )
    if not inputs or not outputs:
        session.refuse("it has no inputs or no outputs; wanted at least one of each")
    names = [*session.outputs]
    raw = session.asked_for(names)

    def run(rows: Feed) -> Parts:
        return tuple(raw(rows))

    found = try_tensors(run, inputs, outputs, most)
    notes = (f"{session.file}: {found.why}, so each request runs alone",) if found.why else ()
    mode = Mode.TOGETHER if found.together else Mode.ONE_BY_ONE
    return Tensors(Checked(run, mode, notes, run, outputs), found, shapeless_inputs(content))


def logs(session: Session, about: Manifest) -> tuple[Mapping[str, Log], Mapping[str, Log]]:
    """Return what the record holds of inputs and outputs by name, as `model.toml` says it; raises ModelError."""
    sides = (("inputs", session.signature.inputs), ("outputs", session.signature.outputs))
    for (key, specs), said in zip(sides, about.tensor_logs, strict=True):
        if unknown := sorted({*said} - {spec.name for spec in specs}):
            session.refuse(f"[[{key}]] names {unknown[0]!r}; wanted one of {', '.join(spec.name for spec in specs)}")
    if about.outputs.mode == "round":
        session.refuse('[log] outputs = "round" is for labels and numbers; wanted "keep", "hash" or "drop" for tensors')
    inputs, outputs = about.tensor_logs
    return inputs, {spec.name: about.outputs.mode for spec in session.signature.outputs} | dict(outputs)
