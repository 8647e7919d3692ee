"""Who may use what is made in an outbox: its user alone, or its folder's group too, as that folder says.

Where a platform gives each start another user (OpenShift, a changed `runAsUser`), the folder of the outbox is writable
for a group that all of them are in. Then what is made there is too, so that the next one reads it and goes on with it.
The folder of an outbox that did not exist is for its user alone: inputs are personal, and no group was asked for.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER, _SHARED_FOLDER = 0o700, 0o770
_FILE, _SHARED_FILE = 0o600, 0o660


def make_folder(path: Path, *, exist_ok: bool = False) -> None:
    """Make a folder and those above it that are absent, each for whom the one above it is for; raises OSError."""
    if not path.parent.exists():
        make_folder(path.parent, exist_ok=True)
    try:
        path.mkdir(mode=_FOLDER)
    except FileExistsError:
        if not exist_ok or not path.is_dir():
            raise
        return
    above = path.parent.stat()
    if above.st_mode & stat.S_IWGRP and not above.st_mode & stat.S_IWOTH:  # /tmp is for everybody: no group was meant
        with contextlib.suppress(PermissionError):  # some network file systems take no modes
            path.chmod(_SHARED_FOLDER | (above.st_mode & stat.S_ISGID))


def open_file(path: Path, flags: int) -> int:
    """Open a file by `os.open`, and make it, where `flags` say so, for whom its folder is for; raises OSError."""
    fd = os.open(path, flags, _FILE)
    if not flags & os.O_CREAT:
        return fd
    try:
        mode = path.parent.stat().st_mode
        if mode & stat.S_IWGRP and not mode & stat.S_IWOTH:
            with contextlib.suppress(PermissionError):  # it was there and is another user's
                os.fchmod(fd, _SHARED_FILE)
    except OSError:
        os.close(fd)
        raise
    return fd
