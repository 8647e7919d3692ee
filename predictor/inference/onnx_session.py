"""An ONNX Runtime session for one file: opens it with its weights, checks its inputs, runs any number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import onnxruntime as ort

from predictor.core import extras
from predictor.inference.runtime_errors import NOWHERE, ModelError, reason_of, why_not_loaded
from predictor.inference.runtime_options import OPTIMIZATION, Runtime
from predictor.inference.signature import FREE, Signature, TensorSpec, specs
from predictor.inference.table_input import Columns, TableInput, widths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from predictor.core.features import Feature
    from predictor.inference.table_input import Feed

    Floats: TypeAlias = NDArray[np.float32]

_OPTIMIZATION = dict(
    zip(
        OPTIMIZATION,
        (
            ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
            ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
            ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
            ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
        ),
        strict=True,
    )
)
RUNTIME = f"onnxruntime {ort.__version__}"
_FATAL = 4
"""Of the runtime's own lines: an error is raised with the same text, and stderr is for our lines."""
ort.set_default_logger_severity(_FATAL)


class Session:
    """An open ONNX file."""

    def __init__(
        self, path: Path, content: bytes, others: Mapping[str, bytes] | None = None, runtime: Runtime | None = None
    ) -> None:
        """Open `content`, which came from `path`, with the contents of the files that it names; raises ModelError."""
        self._path = path
        self.file = path.name
        self._session = self._open(content, others or {}, runtime or Runtime())
        self.signature = Signature(specs(self._session.get_inputs()), specs(self._session.get_outputs()))
        self.outputs: dict[str, str] = {each.name: each.type for each in self._session.get_outputs()}
        """Type by name, as ONNX Runtime calls it."""
        self.one_row_only = bool(self.signature.inputs) and self.signature.inputs[0].shape[:1] == (1,)
        """Whether the file takes just one row at a time."""
        self.provider: str = self._session.get_providers()[0]

    def _open(self, content: bytes, others: Mapping[str, bytes], runtime: Runtime) -> Any:  # noqa: ANN401 - the runtime ships no types
        there = ort.get_available_providers()
        for provider in runtime.providers:
            if provider not in there:
                self.refuse(f"the execution provider {provider!r} is not there; this ONNX Runtime has {_listed(there)}")
        options = ort.SessionOptions()
        if runtime.extensions:
            options.register_custom_ops_library(self._extensions())
        options.intra_op_num_threads = options.inter_op_num_threads = runtime.threads
        mode = ort.ExecutionMode.ORT_PARALLEL if runtime.parallel else ort.ExecutionMode.ORT_SEQUENTIAL
        options.execution_mode = mode
        options.graph_optimization_level = _OPTIMIZATION[runtime.optimization]
        options.enable_cpu_mem_arena = runtime.arena
        options.log_severity_level = _FATAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Weights in a file that was not hashed would be missing from the digest, so they are not to be found.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
        if others:
            names, contents = list(others), list(others.values())
            sizes = [len(each) for each in contents]
            options.add_external_initializers_from_files_in_memory(names, contents, sizes)
        try:
            return ort.InferenceSession(content, options, providers=list(runtime.providers))
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions share no other base
            self.refuse(why_not_loaded(self._path, content, error, ort.__version__, others))

    def _extensions(self) -> str:
        """Return the library with the operators of onnxruntime-extensions; raises ModelError without it."""
        try:
            from onnxruntime_extensions import get_library_path  # noqa: PLC0415 - an extra
        except ImportError as error:
            self.refuse(f"extensions = true needs onnxruntime-extensions ({error}); {extras.command('extensions')}")
        return str(get_library_path())

    def table(self, features: Sequence[Feature]) -> TableInput:
        """Return what feeds the file with rows of these features; raises ModelError if it does not take them."""
        inputs = self.signature.inputs
        width = len(features)
        if len(inputs) == 1 and not inputs[0].shape:
            # The runtime has the same empty list for a scalar, and takes rows for either: what comes of the sample
            # tells.
            inputs = (inputs[0]._replace(shape=(FREE, FREE)),)
        for spec in inputs:
            if spec.is_tensor and len(spec.shape) in {1, 2} and spec.shape[0] not in {FREE, 1}:
                self.refuse(f"its input {spec.name!r} takes {spec.shape[0]} rows at a time; wanted any number or 1")
        sizes = widths(inputs)
        if sizes is None:
            self.refuse(f"its input {_strange(inputs)}; wanted rows: a matrix (N, {width}), or (N, 1) for each feature")
        if len(inputs) > 1 and (None in sizes or sum(size or 0 for size in sizes) != width):
            known = sum(size or 0 for size in sizes)
            self.refuse(f"its {len(inputs)} inputs are {known} wide together, but the description has {width} features")
        if len(inputs) == 1 and sizes[0] not in {None, width}:
            self.refuse(f"its input {inputs[0].name!r} is {sizes[0]} wide, but the description has {width} features")
        self._check_names(inputs, sizes, features)
        return TableInput(inputs, width)

    def _check_names(
        self, inputs: Sequence[TensorSpec], sizes: Sequence[int | None], features: Sequence[Feature]
    ) -> None:
        """Refuse features that have the names of the inputs in another order."""
        ours, theirs = [each.name for each in features], [each.name for each in inputs]
        if len(inputs) > 1 and all(size == 1 for size in sizes) and ours != theirs and set(ours) == set(theirs):
            self.refuse(f"its inputs are {theirs}, but features are {ours}; wanted features in the order of the file")

    def output_type(self, output: str) -> str:
        """Return the type of an output; raises ModelError if there is no such output."""
        if output not in self.outputs:
            self.refuse(f"it has no output {output!r}, only {_listed(self.outputs)}")
        return self.outputs[output]

    def asked_for(self, outputs: Sequence[str]) -> Callable[[Feed], list[Any]]:
        """Return a function from rows to these outputs as the runtime gives them: tensors or lists of maps."""
        run, name, wanted = self._session.run, self.signature.inputs[0].name, list(outputs)

        def ask(rows: Feed) -> list[Any]:
            return run(wanted, rows.arrays if isinstance(rows, Columns) else {name: rows})  # type: ignore[no-any-return]

        return ask

    def try_out(self, run: Callable[[Feed], Any], rows: Feed) -> Any:  # noqa: ANN401 - what `run` returns
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


def _strange(inputs: Sequence[TensorSpec]) -> str:
    """Return the first input that no rows fit, for a sentence."""
    odd = next((spec for spec in inputs if widths([spec]) is None), inputs[0])
    return f"{odd.name!r} is a {odd.datatype} of shape {odd.shape}"


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(map(repr, names))
