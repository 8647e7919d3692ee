"""Write docs/promises.md from what the runs left: `python -m scripts.promises`, `make promises`.

Each promise names what proves it. Chaos and tests keep their last result in `docs/results/`, the benchmark in
`bench/results/` and on its page; a figure comes from there or not at all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from bench.report import store
from scripts import readme_figures, results
from scripts.results import ROOT, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

PAGE = ROOT / "docs" / "promises.md"
NONE = "no result is kept yet; this command keeps one"
_LOGGING_PEERS = ("kserve-agent", "litserve", "bentoml")


class Proof(NamedTuple):
    """What proves a promise."""

    by: str
    """In Markdown."""
    command: str
    """Repeats it, where the result that is kept does not name its own."""
    tests: tuple[str, ...] = ()
    """Files or folders of tests whose outcomes count; the other proofs are the results of a run."""
    run: str = ""
    figures: Callable[[Result], str] | None = None
    """Returns the figures of that run that are about this promise."""


class Shown(NamedTuple):
    """The last result of a proof, as the page shows it."""

    figures: str
    command: str
    ended: str = ""
    version: str = ""
    commit: str = ""


class Promise(NamedTuple):
    """One promise, in a sentence, and what proves it."""

    text: str
    proofs: tuple[Proof, ...]


def _tests(by: str, run: str, *paths: str) -> Proof:
    needs = "make clients && " if paths[0].startswith("tests/clients/") else ""
    return Proof(by, f"{needs}make test ARGS='{' '.join(paths)} --result {run}'", paths)


def _chaos(figures: Callable[[Result], str]) -> Proof:
    by = "[every fault at once, under load](reliability.md#everything-at-once)"
    return Proof(by, "make chaos ARGS='--kills 100 --write docs/reliability.md'", run="chaos", figures=figures)


def faults(result: Result) -> str:
    """Return what was done in a chaos run, and what was found."""
    times = result.figures["faults"]
    kills = sum(many for name, many in times.items() if name.startswith("kill"))
    met = f"{sum(times.values()):,.0f} faults of {sum(map(bool, times.values()))} kinds, {kills:,.0f} kills of them"
    compared, wrong = result.figures["compared"], result.figures["wrong"]
    rows, missing = compared["rows acknowledged as logged"], wrong["acknowledged rows that are missing"]
    gone = f"{missing:,.0f} of them missing{_besides(compared)}"
    return f"{met}; {rows:,.0f} rows acknowledged, {gone}; {_findings(result)}"


def _besides(compared: Mapping[str, float]) -> str:
    """Return what the missing rows are counted without."""
    cut = compared.get("rows of the last second before a power cut, gone", 0)
    return f" besides {cut:,.0f} of the last second before a power cut" if cut else ""


def _findings(result: Result) -> str:
    findings = sum(result.figures["wrong"].values())
    return f"**{findings:,.0f} wrong**" if findings else "nothing wrong"


def _power(result: Result) -> str:
    if "power cut" not in result.figures["faults"]:
        return "no power cut: the machine permits none"
    compared = result.figures["compared"]
    return (
        f"power cuts: {result.figures['faults']['power cut']:,.0f}; rows of the last second before them gone: "
        f"{compared['rows of the last second before a power cut, gone']:,.0f}; other rows gone: "
        f"{result.figures['wrong']['acknowledged rows that are missing']:,.0f}"
    )


def _declared(result: Result) -> str:
    compared, wrong = result.figures["compared"], result.figures["wrong"]
    return (
        f"{compared['rows answered as not logged']:,.0f} rows answered as not logged, "
        f"{compared['numbers declared as lost']:,.0f} numbers declared as lost; "
        f"{wrong['numbers missing in a stream']:,.0f} missing without a declaration"
    )


def _copies(result: Result) -> str:
    compared, wrong = result.figures["compared"], result.figures["wrong"]
    return (
        f"{compared['copies of them']:,.0f} copies, {wrong['copies of a number that differ']:,.0f} that differ; "
        f"{wrong['rows under two numbers']:,.0f} rows under two numbers"
    )


def _digests(result: Result) -> str:
    records = result.figures["compared"]["records at the sink"]
    wrong = result.figures["wrong"]["records that are not as their digests say"]
    return f"{records:,.0f} records read back, {wrong:,.0f} that are not as their digests say"


def _growth(result: Result) -> str:
    load = result.figures["load"]
    return (
        f"all {load['records that arrived']:,.0f} records arrived at {load['requests a second, median']:,.0f} requests "
        f"a second; memory {load['resident MiB at least']:.0f} to {load['resident MiB at most']:.0f} MiB"
    )


def _suite(result: Result) -> str:
    return _outcomes(result, [*result.figures])


PROMISES = (
    Promise(
        "A prediction that was acknowledged as logged is in the log, whatever is killed, full or unreachable.",
        (
            _chaos(faults),
            _tests("a sink that is down, slow or refuses", "shipping", "tests/shipping"),
            Proof("a real Collector and a real Loki", "make test-stack ARGS='--result stack'", ("tests/stack",)),
        ),
    ),
    Promise(
        "A power cut costs about the last second of records; with `PREDICTOR_OUTBOX_FSYNC=batch` it costs none.",
        (
            _tests("the power of an ext4 cut under load", "power-cut", "tests/outbox/test_power_cut.py"),
            _chaos(_power),
        ),
    ),
    Promise(
        "A prediction that cannot be logged is refused, or it is answered as not logged and declared as lost.",
        (
            _tests("full and failing disks", "full-disk", "tests/outbox/test_disk_full.py"),
            _tests("files removed under the server", "files-gone", "tests/outbox/test_files_gone.py"),
            _chaos(_declared),
        ),
    ),
    Promise(
        "A record may arrive twice, but always with the same content, and no row has two numbers.",
        (_chaos(_copies),),
    ),
    Promise(
        "A reader of the sink can prove that no record is missing.",
        (_tests("planted gaps", "completeness", "tests/reader/test_verify.py", "tests/reader/test_verify_outbox.py"),),
    ),
    Promise(
        "An edit of a record is found; with a key also one by somebody who computes the digests again.",
        (
            _tests("planted edits", "edits", "tests/reader/test_digests.py", "tests/reader/test_evidence.py"),
            _chaos(_digests),
        ),
    ),
    Promise(
        "Trouble of the sink does not slow the callers down while the outbox has room, and memory does not grow.",
        (
            Proof(
                "[full load with outages of the Collector](reliability.md#half-an-hour-at-full-load)",
                "make chaos ARGS='long --minutes 30 --write'",
                run="long",
                figures=_growth,
            ),
        ),
    ),
    Promise(
        "The clients of Triton, KServe and the Open Inference Protocol work unchanged.",
        (_tests("the [clients](clients.md) themselves", "clients", "tests/clients/test_clients.py"),),
    ),
    Promise(
        "Every answer is one that the [OpenAPI document](http.md#openapi) describes.",
        (_tests("schemathesis", "openapi", "tests/clients/test_openapi.py"),),
    ),
    Promise(
        "What the log costs is measured, beside a bare server and others that log.",
        (
            Proof(
                "[the benchmark](benchmarks.md), one row a request, 32 connections",
                "make bench ARGS='--parts connections'",
                run="bench",
            ),
        ),
    ),
    Promise(
        "One command starts the whole system, with Docker or in a cluster.",
        (
            Proof("[compose.yaml](../compose.yaml)", "make test-compose ARGS='--result compose'", ("tests/compose",)),
            Proof("[a cluster](operations.md)", "make test-cluster ARGS='--result cluster'", ("tests/cluster",)),
        ),
    ),
    Promise(
        "The commands, settings and examples of the pages are what the code does.",
        (_tests("each of them, held to the code", "pages", "tests/project"),),
    ),
    Promise(
        "The test suite passes, with the newest and with the lowest dependencies.",
        (
            Proof("all of it", "make test ARGS='--result tests'", run="tests", figures=_suite),
            Proof(
                "all of it, lowest versions", "make test-lowest ARGS='--result lowest'", run="lowest", figures=_suite
            ),
        ),
    ),
)


def page(
    kept: Sequence[Result], released: tuple[str, str], benchmarks: str, measured: tuple[str, str] = ("", "")
) -> str:
    """Return the page.

    Args:
        kept: the results of runs, the newest first.
        released: the version, and the day of its release; an empty one before it.
        benchmarks: the text of docs/benchmarks.md.
        measured: version and commit of which its part about connections was measured, as far as they are known.
    """
    version, day = released
    rows = []
    for promise in PROMISES:
        text = f"**{promise.text}**"
        for proof in promise.proofs:
            shown = _benchmark(proof, benchmarks, measured) if proof.run == "bench" else _shown(proof, kept)
            rows.append(f"| {text} | {proof.by}<br>`{shown.command}` | {shown.figures} | {_of(shown, released)} |")
            text = ""
    runs = [f"| `{each.command}` | {each.ended} | {each.minutes:g} | {each.machine} |" for each in kept]
    state = f"was released on {day}" if day else "is not released yet"
    return "\n".join(
        [
            "# Promises",
            "",
            "<!-- Written by `make promises` from the results of the runs. Change scripts/promises.py instead. -->",
            "",
            "What this project promises, what proves it, and the last result of each proof.",
            f"The source is version {version}, which {state}.",
            "The last column marks a result of another version, or from before the release.",
            "",
            "| promise | proved by, and repeated with | last result | run of |",
            "|---|---|---|---|",
            *rows,
            "",
            "[reliability.md](reliability.md) has the promises in full and how each was tried.",
            "It also has the [known limits](reliability.md#known-limits).",
            "[evidence.md](evidence.md) says which edits are found, and which are not.",
            "",
            "## The runs",
            "",
            "| command | ended | minutes | machine |",
            "|---|---|---:|---|",
            *runs,
            "",
            "A run keeps its result, failures included, if it is asked to, in a file of `docs/results/`.",
            "Tests do so with `--result NAME`, chaos with `--write docs/reliability.md`.",
            "`make test ARGS='--result tests'` keeps the result of all tests at once.",
            "The benchmark keeps its own, and writes [its page](benchmarks.md).",
            "`make promises` writes this page from these files; page and files are committed together.",
            "",
        ]
    )


def _shown(proof: Proof, kept: Iterable[Result]) -> Shown:
    """Return the newest result that the proof has."""
    for result in kept:
        if proof.figures and result.run == proof.run:
            about = proof.figures(result), result.command
        elif proof.tests and all(_under(path, result) for path in proof.tests):
            about = _outcomes(result, [file for path in proof.tests for file in _under(path, result)]), proof.command
        else:
            continue
        return Shown(*about, result.ended, result.version, result.commit)
    return Shown(NONE, proof.command)


def _under(path: str, result: Result) -> list[str]:
    return [file for file in result.figures if file == path or file.startswith(f"{path}/")]


def _outcomes(result: Result, files: Iterable[str]) -> str:
    """Return how many tests of these files passed, failed and were skipped."""
    told = [result.figures[file] for file in files]
    passed, skipped, failed = (sum(each.get(word, 0) for each in told) for word in ("passed", "skipped", "failed"))
    return ", ".join(
        [
            f"{passed:,.0f} tests passed",
            *([f"{skipped:,.0f} skipped"] if skipped else []),
            *([f"**{failed:,.0f} failed**"] if failed else []),
        ]
    )


def _benchmark(proof: Proof, benchmarks: str, measured: tuple[str, str]) -> Shown:
    """Return what docs/benchmarks.md has, which its own run wrote."""
    try:
        rows = readme_figures.measured(benchmarks, "32")
        ours = rows["traced5"]
        peers = {name: rows[name] for name in _LOGGING_PEERS if name in rows and rows[name][3]}
        heads = re.findall(r"^`python -m bench[^`]*`, ([\d-]+)", benchmarks.partition("\n### 32 ")[0], re.MULTILINE)
        day = heads[-1]
    except (ValueError, KeyError, IndexError):
        return Shown(NONE, proof.command)
    figures = f"logged, shipped and 5 % traced, {ours[3]} of the requests a second of bare aiohttp"
    if peers:
        fastest = max(peers, key=lambda name: float(readme_figures.median(peers[name][3])))
        figures += f"; the fastest other server that logs, {fastest}: {peers[fastest][3]}"
    return Shown(figures, proof.command, day, *measured)


def _of(shown: Shown, released: tuple[str, str]) -> str:
    """Return version, commit and day of a result, and a word where it does not speak for this version."""
    if shown.figures == NONE:
        return ""
    version, day = released
    commit = f", {shown.commit.replace('-dirty', ' with changes')}" if shown.commit else ""
    parts = [f"{shown.version or 'version not recorded'}{commit}, {shown.ended[:10]}"]
    if shown.version and shown.version != version:
        parts.append("**another version**")
    if day and shown.ended[:10] < day:
        parts.append("**older than the release**")
    return "<br>".join(parts)


def release(changelog: str, version: str) -> tuple[str, str]:
    """Return a version and the day on which it was released by the changelog, an empty one if it is not."""
    found = re.search(rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)$", changelog, re.MULTILINE)
    return version, found[1] if found else ""


def current() -> str:
    """Return the page as the files that are here make it."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    benchmarks = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    part = store.read("connections")
    measured = (part.version, part.revision) if part else ("", "")
    return page(results.every(), release(changelog, results.version()), benchmarks, measured)


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
