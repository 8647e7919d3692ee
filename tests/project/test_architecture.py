"""The arrows between the modules, read from their imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatchcase
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGE = _ROOT / "predictor"
_MOST_LINES = 300

# What a folder may import, itself included: modules of ours as they stand below `predictor`, and other packages.
# From the lowest floor up; arrows point down only. The standard library is free, except for the network and the
# process's environment (below).
_MAY_IMPORT = {
    "core.*": ["core.*", "msgspec"],
    "otlp.*": ["otlp", "otlp.*", "msgspec"],
    # A setting that asks for an extra says how to get it.
    "config.*": ["config.*", "core.extras"],
    "inference.*": [
        "inference",
        "inference.*",
        "core.extras",
        "core.features",
        "numpy",
        "onnxruntime",
        "onnxruntime_extensions",
    ],
    "outbox.*": ["outbox.*", "otlp", "core.*", "msgspec"],
    "recording.*": [
        *("recording.*", "otlp", "outbox", "outbox.recovery.undeclared", "core.*", "__version__"),
        *("msgspec", "numpy", "cryptography"),
    ],
    "shipping.*": [
        *("shipping.*", "outbox.layout", "outbox.modes", "otlp", "core.*", "__version__"),
        *("aiohttp", "msgspec", "multidict"),
    ],
    "serving.*": ["serving.*", "inference.*", "recording.record_schema", "outbox", "core.*", "numpy"],
    "tracing.*": [
        *("tracing", "tracing.*", "otlp", "outbox", "recording.record_schema", "core.*"),
        *("opentelemetry", "yarl"),
    ],
    "reader.replay.*": [
        *(
            "reader",
            "reader.*",
            "recording.record_schema",
            "recording.record_model",
            "recording.tensor_texts",
            "core.*",
            "config.parsers",
            "inference.*",
            "msgspec",
            "numpy",
        ),
    ],
    "reader.*": [
        *("reader", "reader.*", "outbox.layout", "outbox.liveness", "outbox.modes", "outbox.segment_names"),
        *("otlp", "core.*", "config.*"),
        *("inference.manifest", "outbox.ended"),
        *("recording.record_schema", "recording.record_model", "recording.stream_events", "recording.loki_names"),
        # What a reader computes again is what the writer computed.
        *("recording.canonical", "recording.checkpoints", "recording.signatures"),
        *("shipping.otlp_http", "msgspec", "pyarrow", "rich", "cryptography"),
    ],
    # Messages of protobuf, for gRPC alone; the others are read without its library.
    "api.protobuf.*": ["api", "api.*", "core.*", "google", "numpy"],
    # Meanings without sockets: no door, and of the work below only what a request and its result are.
    "api.*": ["api", "api.*", "core.*", "__version__", "msgspec", "numpy"],
    # Of the tracer a door needs the form of a server span.
    "http.*": [
        *("http", "http.*", "api.*", "core.*", "serving.deadlines", "tracing.server_spans"),
        *("aiohttp", "httptools", "msgspec", "multidict", "yarl"),
    ],
    # The other door: bounds, places and the certificate are those of HTTP's.
    "grpc.*": [
        *("grpc.*", "api.*", "core.*", "http.limits", "http.listener", "http.tls"),
        *("elsewhere:grpc", "grpc.aio", "grpc_health", "grpc_reflection", "google", "msgspec", "multidict"),
    ],
    "dashboard.*": [
        *("dashboard.*", "http.responses", "api.access", "core.*", "__version__"),
        *("aiohttp", "jinja2", "msgspec"),
    ],
    "conversion.*": ["conversion.*", "inference.*", "core.*", "msgspec", "numpy", "pyarrow"],
    "load.*": ["load", "load.*", "inference.*", "core.*", "config.parsers", "config.urls", "aiohttp", "msgspec"],
    "server.*": ["*"],  # builds everything
    "app": ["server.app", "config.settings"],
    "worker": ["server.app", "aiohttp"],
}
# What it may name besides, in annotations only: such an arrow costs nothing and binds nobody at run time.
_MAY_NAME: dict[str, list[str]] = {
    "otlp.*": ["opentelemetry"],
    "recording.*": ["inference.log_rules", "inference.manifest", "inference.model", "inference.signature"],
    "shipping.*": ["config.otel_env"],
    "tracing.*": ["aiohttp"],
    "api.protobuf.*": ["inference.model", "serving.job"],
    "api.*": [
        "serving.job",
        "serving.pipeline",
        "tracing.tracer",
        "inference.manifest",
        "inference.model",
        "inference.outputs",
        "inference.signature",
    ],
    "http.*": [],
    "app": ["http.runner"],
    "dashboard.*": [
        *("inference.log_rules", "inference.manifest", "inference.model"),
        *("inference.signature", "inference.training_ranges"),
    ],
}
# What only these may import.
_ONLY_FOR = {
    "aiohttp": [
        *("http.*", "dashboard.routes", "tracing.instrumentation", "shipping.*", "load.sender"),
        *("server.app", "server.lifecycle", "server.banner", "server.scrape_port", "worker"),
    ],
    "onnxruntime": ["inference.onnx_session"],
    # Of the log's makers, and these are imported by its readers, only who writes tensors as they come.
    "numpy": ["inference.*", "conversion.*", "serving.*", "api.*", "reader.replay.*", "recording.tensor_texts"],
    "uvloop": ["server.lifecycle"],
    "opentelemetry": ["server.*", "tracing.*", "otlp.*"],
    "recording.encoder": [
        *("recording.stream", "recording.stream_events", "recording.prediction_log", "recording.model_event"),
        "recording.rows_encoder",
    ],
    "server.metrics": ["server.app"],
    "server.scrape_port": ["server.app"],
    "prometheus_client": ["server.scrape_port"],
    "jinja2": ["dashboard.render"],
    "dashboard.*": ["server.pages", "dashboard.*"],
    # Without the module, and its lines in `server.app`, there is a whole server.
    "http.fast_lane": ["server.app"],
    "httptools": ["http.request_head"],
    # All that needs the extra, which a server without the port does not load.
    "elsewhere:grpc": ["grpc.*"],
    "grpc.aio": ["grpc.*"],
    "google": ["api.protobuf.*", "grpc.*"],
    "grpc.*": ["grpc.*", "server.grpc_door"],
    "api.protobuf.messages": ["api.protobuf.infer", "grpc.*"],
    "api.protobuf.infer": ["grpc.*", "server.model_versions"],
    "server.grpc_door": ["server.app"],
    "shipping.shipper": ["server.log_service", "server.owned_streams"],
    "server.app": ["app", "worker", "server.lifecycle", "server.banner"],
    "pyarrow": ["reader.sources.zstd", "reader.export.writers", "reader.export.table_folder", "conversion.table_file"],
    "rich": ["reader.output"],
    "cryptography": ["recording.signatures", "reader.verify.keys"],
    "reader.*": ["reader.*", "__main__"],
}
_NETWORK = {"socket", "ssl", "http.client", "http.server", "urllib", "socketserver", "asyncio.streams"}
_MAY_USE_NETWORK = {
    "http.limits": "sets options of a connection",
    "grpc.addresses": "asks whether a port can be had, before gRPC listens there",
    "http.listener": "makes and closes the listening sockets",
    "http.tls": "makes the TLS context for callers",
    "server.healthcheck": "asks the server whether it lives",
    "shipping.otlp_http": "posts, makes the TLS context",
    "config.otel_env": "takes URLs apart",
    "config.urls": "takes URLs apart",
    "reader.sources.loki": "asks Loki",
    "reader.workers": "hands open files to its own processes, by a pair of sockets",
    "core.grafana_links": "makes a URL",
    "api.openapi.description": "makes a path",
    "core.thread_pools": "starts those that resolve host names",
}


_ELSEWHERE = "elsewhere:"
"""Before the name of another package's module that one of ours has too: `http`."""


class _Import(NamedTuple):
    """One import: of what, at which line, for annotations only, and whether when the module is imported."""

    name: str
    line: int
    typing: bool
    at_once: bool


def _module(path: Path) -> str:
    parts = path.relative_to(_PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


_MODULES = {_module(path): path for path in sorted(_PACKAGE.rglob("*.py"))}


@cache
def _imports(module: str) -> tuple[_Import, ...]:
    """Return a module's imports; ours without the beginning `predictor.`."""
    found: list[_Import] = []

    def look(node: ast.AST, *, typing: bool, at_once: bool) -> None:
        match node:
            case ast.Import():
                found.extend(_Import(_ours(each.name), node.lineno, typing, at_once) for each in node.names)
            case ast.ImportFrom():
                assert node.level == 0, f"{module}:{node.lineno} is relative"
                assert node.module
                names = [_from(node.module, each.name) for each in node.names]
                found.extend(_Import(name, node.lineno, typing, at_once) for name in names)
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                for guarded in node.body:
                    look(guarded, typing=True, at_once=at_once)
                for other in node.orelse:
                    look(other, typing=typing, at_once=at_once)
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                at_once = False
        for child in ast.iter_child_nodes(node):
            look(child, typing=typing, at_once=at_once)

    look(ast.parse(_MODULES[module].read_text()), typing=False, at_once=True)
    return tuple(found)


def _ours(name: str) -> str:
    if name.startswith("predictor"):
        return name.removeprefix("predictor.") if name != "predictor" else ""
    return f"{_ELSEWHERE}{name}" if name in _MODULES else name


def _from(module: str, name: str) -> str:
    """Return what `from module import name` needs: the submodule if it is one, else the module."""
    if module == "predictor":
        return name
    if module.startswith("predictor."):
        inner = _ours(module)
        return f"{inner}.{name}" if f"{inner}.{name}" in _MODULES else inner
    return _ours(module)


def _fits(name: str, patterns: list[str]) -> bool:
    """Tell whether an import is one of those; a foreign package includes its submodules."""
    candidates = {name} if name in _MODULES or name == "__version__" else {name, name.split(".", maxsplit=1)[0]}
    return any(fnmatchcase(candidate, pattern) for candidate in candidates for pattern in patterns)


def _part(module: str) -> str | None:
    """Return the first row of _MAY_IMPORT that a module belongs to."""
    return next((part for part in _MAY_IMPORT if fnmatchcase(module, part)), None)


def _foreign(name: str) -> bool:
    return name not in _MODULES and name != "__version__"


def _standard(name: str) -> bool:
    return _foreign(name) and _plain(name).split(".", maxsplit=1)[0] in sys.stdlib_module_names


def _plain(name: str) -> str:
    return name.removeprefix(_ELSEWHERE)


@pytest.mark.parametrize("module", [module for module in _MODULES if _part(module)])
def test_arrows_point_one_way(module: str) -> None:
    """A part imports nothing that it should not know."""
    part = _part(module)
    assert part
    for each in _imports(module):
        may = _MAY_IMPORT[part] + (_MAY_NAME.get(part, []) if each.typing else [])
        fine = _standard(each.name) or _fits(each.name, may)
        assert fine, (
            f"predictor.{module}:{each.line} imports {each.name}; {part} may import {', '.join(may) or 'nothing'}"
        )


@pytest.mark.parametrize("name", _ONLY_FOR)
def test_what_few_may_import(name: str) -> None:
    """Some things are one part's business: HTTP, the model runtime, telemetry, the making of log records."""
    for module in _MODULES:
        used = [
            each for each in _imports(module) if _fits(each.name, [name]) and not (each.typing and not _foreign(name))
        ]
        fine = not used or any(fnmatchcase(module, part) for part in _ONLY_FOR[name])
        assert fine, f"predictor.{module}:{used[0].line} imports {name}"


@pytest.mark.parametrize("module", _MODULES)
def test_network_is_for_few(module: str) -> None:
    """Only what is named for it touches the network's modules: never the outbox, the log or the model."""
    foreign = [_plain(each.name) for each in _imports(module) if _foreign(each.name)]
    used = [name for name in foreign if {name, name.split(".")[0]} & _NETWORK]
    assert not used or any(fnmatchcase(module, part) for part in _MAY_USE_NETWORK), f"predictor.{module}: {used}"


def test_no_cycles() -> None:
    """No module needs itself, not even through annotations."""
    graph = {
        module: {each.name for each in _imports(module) if each.name in _MODULES} - {module} for module in _MODULES
    }
    # A package's own front door imports its rooms.
    for package in [module for module, path in _MODULES.items() if path.name == "__init__.py"]:
        assert not any(package in graph[room] for room in _MODULES if room.startswith(f"{package}."))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", _MODULES)
def test_environment_is_read_in_one_place(module: str) -> None:
    """Only `settings` reads the process's environment; what must be set before an import is set by the package."""
    tree = ast.parse(_MODULES[module].read_text())
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name("os"), "environ" | "environb" | "getenv" | "getenvb"):
                assert module in {"config.settings", ""}, f"predictor.{module}:{node.lineno}"
            case ast.ImportFrom(module="os"):
                assert not {each.name for each in node.names} & {"environ", "getenv"}, (
                    f"predictor.{module}:{node.lineno}"
                )
    if module == "":
        assert _MODULES[module].read_text().count("environ") == _MODULES[module].read_text().count(
            "os.environ.setdefault("
        )


@pytest.mark.parametrize("module", _MODULES)
def test_log_records_are_numbered_in_one_place(module: str) -> None:
    """Only the stream gives numbers, and the closing record of a dead one: nobody else can append to the log."""
    names = {node.id for node in ast.walk(ast.parse(_MODULES[module].read_text())) if isinstance(node, ast.Name)}
    if module not in {"recording.stream", "recording.stream_events"}:
        assert "numbered" not in names


@pytest.mark.parametrize("module", _MODULES)
def test_rooms_are_small(module: str) -> None:
    """A module is read in one sitting."""
    assert len(_MODULES[module].read_text().splitlines()) <= _MOST_LINES


_OURS = {"self", "cls"}
_DOCUMENTED = {"_exit", "_asdict", "_fields", "_make", "_replace"}
"""Names of `os` and of named tuples that begin with an underscore and are documented all the same."""


def _private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__") and name not in _DOCUMENTED


@pytest.mark.parametrize("module", _MODULES)
def test_no_private_names_of_others(module: str) -> None:
    """Nobody else's private name is read, assigned or named in a `getattr`, nor is the class of an object changed."""
    tree = ast.parse(_MODULES[module].read_text())
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        line: int = getattr(node, "lineno", 0)
        where = f"predictor.{module}:{line}"
        match node:
            case ast.Attribute(owner) if _private(node.attr):
                ours = isinstance(owner, ast.Name) and owner.id in _OURS | own
                assert ours, f"{where} touches a private {node.attr}"
            case ast.Call(ast.Name("getattr" | "setattr" | "hasattr" | "delattr"), [_, ast.Constant(name), *_]):
                assert not _private(name), f"{where} names a private name"
            case ast.ImportFrom(str(source), names) if not source.startswith("predictor"):
                assert not [each.name for each in names if _private(each.name)], where
                assert not any(_private(part) for part in source.split(".")), where
            case ast.Import(names):
                assert not [part for each in names for part in each.name.split(".") if _private(part)], where
            case ast.Attribute(_, "__class__" | "__dict__", ast.Store() | ast.Del()):
                pytest.fail(f"{where} changes what an object is")
    assert "SLF001" not in _MODULES[module].read_text(), module


def test_no_private_names_are_overridden() -> None:
    """A class of ours that derives from another package's defines no private name of that."""
    import importlib  # noqa: PLC0415 - the classes themselves

    for module, path in _MODULES.items():
        tree = ast.parse(path.read_text())
        if not any(isinstance(node, ast.ClassDef) and node.bases for node in ast.walk(tree)) or module == "__main__":
            continue
        loaded = importlib.import_module(f"predictor.{module}" if module else "predictor")
        for cls in [each for each in vars(loaded).values() if isinstance(each, type)]:
            if cls.__module__ != loaded.__name__:
                continue
            slots = cls.__dict__.get("__slots__", ())
            defined = {name for name in (*cls.__dict__, *slots) if _private(name)}
            for base in cls.__mro__[1:]:
                if base.__module__.split(".")[0] in {"aiohttp", "opentelemetry"}:
                    names = {*vars(base), *vars(base).get("__slots__", ())} - {"_abc_impl"}  # made by the language
                    assert not defined & names, f"{cls} overrides {defined & names} of {base}"


def test_tables_name_what_is_there() -> None:
    """Every module that the tables above name exists: a rule for nobody holds nothing."""
    named = [*_MAY_IMPORT, *_MAY_USE_NETWORK, *(part for parts in _ONLY_FOR.values() for part in parts)]
    for part in named:
        assert any(fnmatchcase(module, part) for module in _MODULES), part
    assert set(_MAY_NAME) <= set(_MAY_IMPORT)


def _reached(module: str) -> set[str]:
    """Return every module that importing one imports, packages on the way included."""
    seen: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        if name in seen or name not in _MODULES:
            seen.add(name)
            continue
        seen.add(name)
        left += [each.name for each in _imports(name) if each.at_once and not each.typing]
        left += [".".join(name.split(".")[:depth]) for depth in range(name.count(".") + 1)]
    return {name.split(".")[0] if _foreign(name) else name for name in seen}


@pytest.mark.parametrize("heavy", ["aiohttp", "onnxruntime", "numpy", "opentelemetry", "uvloop"])
def test_outbox_and_command_line_are_light(heavy: str) -> None:
    """Readers of the log and `predictor --help` load neither the server nor the model runtime."""
    readers = [each for each in _MODULES if each.startswith("reader.") and not each.startswith("reader.replay")]
    for module in ("__main__", "outbox", "otlp", "recording.stream", *readers):
        assert heavy not in _reached(module), module


_VERBS = ["export.command", "list", "rejected.command", "rejected.resend", "show", "tail", "verify.command"]


def test_command_line_is_light_in_fact() -> None:
    """A fresh interpreter that has imported the command line has imported none of the heavy packages."""
    heavy = {"aiohttp", "onnxruntime", "numpy", "opentelemetry", "rich", "pyarrow"}
    verbs = "import " + ", ".join(f"predictor.reader.{verb}" for verb in _VERBS)
    code = f"import sys, predictor.__main__; {verbs}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_server_without_metrics_does_not_load_their_exporter() -> None:
    """The metrics exporter, slow to import, is loaded only by who asks for metrics."""
    assert not {"server.metrics", "server.scrape_port", "requests", "prometheus_client"} & _reached("server.app")
    found = "name for name in sys.modules if 'opentelemetry.exporter' in name"
    code = f"import sys, predictor.server.lifecycle; print(*({found}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_server_without_the_page_does_not_load_its_templates() -> None:
    """The template engine is loaded only by a server that shows the page."""
    assert "jinja2" not in _reached("server.app")
