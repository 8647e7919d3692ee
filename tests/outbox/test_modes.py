"""Who may use an outbox: its user alone, or the group too that its folder is writable for."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from predictor.outbox.ownership import create
from tests.server.test_stderr import post
from tests.support.server import Server, predictions, records

STREAM = "0199c0de-0000-7000-8000-00000000abcd"
_AS = "import predictor.server.lifecycle, predictor.__main__, importlib.metadata, numpy.random, encodings.idna; "
_AS += "import os, runpy, sys; os.setgroups([]); os.setgid(0); os.setuid({uid}); sys.argv = ['predictor']; "
_RUN = "runpy.run_module('predictor', run_name='__main__')"


def modes(folder: Path) -> set[tuple[bool, int]]:
    """Return what there is in a folder: whether it is a folder, and its mode."""
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("mode", "folders", "files"),
    [
        (0o700, 0o700, 0o600),
        (0o750, 0o700, 0o600),
        (0o770, 0o770, 0o660),
        (0o2770, 0o2770, 0o660),
        (0o777, 0o700, 0o600),
    ],
)
def test_what_is_made_is_for_whom_the_folder_is_for(tmp_path: Path, mode: int, folders: int, files: int) -> None:
    """What an outbox gets is its group's where its folder is writable for that group, and its user's alone else."""
    root = tmp_path / "outbox"
    root.mkdir()
    root.chmod(mode)
    before = os.umask(0o077)
    try:
        create(root, STREAM, b"head").release()
    finally:
        os.umask(before)
    assert modes(root) == {(True, folders), (False, files)}


def test_everything_that_a_server_makes_is_the_groups(outbox: Path) -> None:
    """Streams, segments, cursors and locks of a real server, killed and taken over, have the group's mode."""
    outbox.mkdir(exist_ok=True)
    outbox.chmod(0o770)
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "PREDICTOR_FLUSH": "0s"}
    for _ in range(2):
        with Server(outbox, **settings) as server:
            assert post(server.port) == 200
            server.kill()
    assert modes(outbox) == {(True, 0o770), (False, 0o660)}


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming two other users takes root")
def test_another_user_goes_on(outbox: Path) -> None:
    """A start under another user of the same group takes over what the one before left, as on OpenShift."""
    del outbox  # nobody else comes below pytest's folder
    root = Path(tempfile.mkdtemp())
    try:
        if not all(each.stat().st_mode & stat.S_IXOTH for each in root.parents):
            pytest.skip(f"no other user comes below {root.parent}, which TMPDIR names")
        root.chmod(0o770)
        for uid in (10_901, 10_902):
            with Server(root, command=("-c", _AS.format(uid=uid) + _RUN), PREDICTOR_PAGE="off") as server:
                assert post(server.port) == 200
                server.kill() if uid == 10_901 else server.terminate()
        assert len(predictions(root)) == 2
        ends = [each["attributes"]["event.name"] for each in records(root)]
        assert ends.count("prediction.stream.closed") == 2, "the second closes the first one's stream"
    finally:
        shutil.rmtree(root)
