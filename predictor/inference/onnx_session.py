"""An ONNX Runtime session for one file: checks its input against the description, runs any number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import onnxruntime as ort

from predictor.inference.runtime_errors import NOWHERE, ModelError, reason_of, why_not_loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]


class Session:
    """An open ONNX file."""

    def __init__(self, path: Path, content: bytes, width: int) -> None:
        """Open `content`, which came from `path`; raises ModelError if it does not take rows of `width` numbers."""
        self._path = path
        self.file = path.name
        self._session = self._open(content)
        self._input, self.one_row_only = self._checked_input(width)
        self.outputs: dict[str, str] = {each.name: each.type for each in self._session.get_outputs()}
        """Type by name."""

    def _open(self, content: bytes) -> Any:  # noqa: ANN401 - the runtime ships no types
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # batches run side by side, none is split up
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4  # fatal only: an error is raised with the same text, stderr is for our lines
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Weights in a file of their own would be missing from the digest, so they are not to be found.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
        try:
            return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions share no other base
            self.refuse(why_not_loaded(self._path, content, error, ort.__version__))

    def _checked_input(self, width: int) -> tuple[str, bool]:
        """Return the only input's name and whether it takes just one row at a time."""
        inputs = {each.name: each for each in self._session.get_inputs()}
        if len(inputs) != 1:
            self.refuse(f"it has {len(inputs)} inputs ({_listed(inputs)}); wanted one")
        ((name, only),) = inputs.items()
        # The runtime has the same empty list for a scalar, and takes rows for either: what comes of the sample tells.
        declared = bool(only.shape)
        if only.type != "tensor(float)" or (declared and len(only.shape) != 2):  # noqa: PLR2004 - rows and columns
            shape = f"of shape {tuple(only.shape)}" if declared else "without a declared shape"
            found = f"{only.type} {shape}"
            self.refuse(f"its input {name!r} is a {found}; wanted a tensor(float) of shape (N, {width})")
        sizes = only.shape if declared else (None, None)
        rows, columns = (size if isinstance(size, int) else None for size in sizes)  # a free size is None or named
        if columns not in {None, width}:
            self.refuse(f"its input {name!r} is {columns} wide, but the description has {width} features")
        if rows not in {None, 1}:
            self.refuse(f"its input {name!r} takes {rows} rows at a time; wanted any number or 1")
        return name, rows == 1

    def output_type(self, output: str) -> str:
        """Return the type of an output; raises ModelError if there is no such output."""
        if output not in self.outputs:
            self.refuse(f"it has no output {output!r}, only {_listed(self.outputs)}")
        return self.outputs[output]

    def asked_for(self, outputs: Sequence[str]) -> Callable[[Floats], list[Any]]:
        """Return a function from rows to these outputs as the runtime gives them: tensors or lists of maps."""
        run, name, wanted = self._session.run, self._input, list(outputs)
        return lambda rows: run(wanted, {name: rows})

    def try_out(self, run: Callable[[Floats], Any], rows: Floats) -> Any:  # noqa: ANN401 - what `run` returns
        """Return what `run` gives; raises ModelError if it fails."""
        try:
            return run(rows)
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions share no other base
            what = "the sample" if len(rows) == 1 else f"{len(rows)} rows of the sample"
            self.refuse(f"it fails on {what}: {reason_of(error)}")

    def refuse(self, difference: str) -> NoReturn:
        """Raise the ModelError that names this file and the difference."""
        msg = f"{self._path}: {difference}."
        raise ModelError(msg)


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(map(repr, names))
