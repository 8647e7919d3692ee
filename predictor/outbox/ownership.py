"""Ownership of streams: creates one, adopts those of dead processes, removes those that were shipped.

The owner holds an flock on the stream's `lock`, which the kernel lets go when the process dies, however it dies.
flock between machines is no such promise, so the outbox must be on a local file system.
The content of `lock` is the constant beginning of the stream's event lines: from it the closing record can be
written whatever happened to the segments.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from predictor.core.operator_log import Throttle
from predictor.outbox import ended
from predictor.outbox.layout import LAYOUT, SIGNALS, StreamFiles, streams, sync_directory
from predictor.outbox.modes import make_folder, open_file
from predictor.outbox.recovery.repair import repair
from predictor.outbox.recovery.secure import secure
from predictor.outbox.writing.segment_file import FULL, DiskCalls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from predictor.outbox.recovery.repair import Closing

# What `lock` is called while a stream that was shipped is being removed: whoever finds it goes on removing.
_SHIPPED = "shipped"
log = logging.getLogger(__name__)
_throttle = Throttle()


@dataclass(slots=True)
class Owned:
    """A stream that this process owns until `release` or `remove`."""

    files: StreamFiles
    lock: int | None  # None when it is no longer owned
    adopted: bool  # from a dead process; otherwise this process writes to it
    incomplete: bool = False  # its closing record could not be written
    secured: bool = True  # nothing of it is unsynced that this process has not written; only then may it be sent
    unsure: set[int] = field(default_factory=set)  # segments whose fsync failed, see `secure`
    former: list[int] = field(default_factory=list)  # locks of the stream that were removed or moved away

    def release(self) -> None:
        """Let go of the stream as it is; the next process may adopt it."""
        for lock in self.former:
            os.close(lock)
        self.former.clear()
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def secure(self, disk: DiskCalls | None = None) -> None:
        """Bring to the disk what the dead process may not have (blocking); raises OSError, and may be tried again."""
        secure(self.files, self.unsure, disk or DiskCalls())
        self.secured = True

    def restore(self, head: bytes) -> bool:
        """Make again what was removed or moved away of the stream's folder, its lock with `head` in it included.

        Return whether anything was (blocking). Raises OSError, with the name of what cannot be made.
        """
        if self.lock is None:
            return False
        folders = [self.files.path, *(self.files.signal(signal).folder for signal in SIGNALS)]
        absent = [folder for folder in folders if not folder.exists()]
        for folder in absent:
            make_folder(folder, exist_ok=True)
        if self._names(self.lock):
            return bool(absent)
        lock = self._create_lock(head)
        if os.fstat(self.lock).st_nlink:
            # It lies elsewhere now. Who finds it there must not close the stream, which goes on here; an empty lock
            # keeps them from it, and does not keep them from shipping what lies there.
            os.ftruncate(self.lock, 0)
        self.former.append(self.lock)
        self.lock = lock
        for folder in (self.files.path, self.files.path.parent, self.files.path.parent.parent):
            sync_directory(folder)
        return True

    def _names(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), self.files.lock.stat())
        except FileNotFoundError:
            return False

    def _create_lock(self, head: bytes) -> int:
        """Return a lock that was locked before it got its name, so that nobody else takes the stream."""
        path = self.files.path / "lock.new"
        fd = open_file(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_whole(fd, head)
            path.rename(self.files.lock)
        except OSError:
            os.close(fd)
            raise
        return fd

    def remove(self) -> None:
        """Remove a stream that was shipped (blocking), all but what was rejected; raises OSError.

        A stream without its closing record is only released: the next adoption tries again to write it.
        If the process is killed in the middle, the next adoption goes on. Before the folder goes the stream is
        entered among those that have ended, unless the disk has no room even for that: to keep it would make none.
        """
        if self.lock is None:
            return
        try:
            if not self.incomplete:
                try:
                    ended.enter(self.files, kept=False)
                except OSError as error:
                    if error.errno not in FULL:
                        raise
                    _say("goes, and no room is left to say so: no later stream names it", self.files.path)
                self.files.lock.rename(self.files.path / _SHIPPED)
                sync_directory(self.files.path)
                _remove_shipped(self.files)
        finally:
            self.release()


def planned(root: Path, stream_id: str) -> StreamFiles:
    """Return the files that a new stream of that id will have."""
    return StreamFiles(root / LAYOUT / stream_id)


def create(root: Path, stream_id: str, head: bytes) -> Owned:
    """Make the directory of a new stream and own it (blocking); raises OSError and leaves nothing then."""
    try:
        return _create(root, stream_id, head)
    except OSError as error:
        if error.filename is None:  # a write or a sync
            raise OSError(error.errno, error.strerror, str(root)) from error
        raise


def _create(root: Path, stream_id: str, head: bytes) -> Owned:
    make_folder(root, exist_ok=True)
    folder = root / LAYOUT
    make_folder(folder, exist_ok=True)
    hidden = StreamFiles(folder / f".{stream_id}")  # nobody adopts what is half made
    with _exclusive(folder):
        make_folder(hidden.path)
        fd = open_file(hidden.lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        _write_whole(fd, head)
        for signal in SIGNALS:
            make_folder(hidden.signal(signal).folder)
        sync_directory(hidden.path)
        files = planned(root, stream_id)
        hidden.path.rename(files.path)
        sync_directory(folder)
        sync_directory(root)
    except OSError:
        shutil.rmtree(hidden.path, ignore_errors=True)
        os.close(fd)
        raise
    return Owned(files, fd, adopted=False)


def _write_whole(fd: int, content: bytes) -> None:
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    os.fsync(fd)


def adopt(root: Path, closing: Closing, *, disk: DiskCalls | None = None) -> list[Owned]:
    """Take over the streams whose owners are dead, each with its closing record, oldest first (blocking).

    `closing(head, sequence)` returns the line to close a stream with. Called again and again: it changes nothing
    that it has mended before. What cannot be mended now (a full disk) is said, and the stream is there to be shipped
    all the same.
    """
    _remove_unfinished(root / LAYOUT)
    taken = []
    for files in streams(root):
        try:
            owned = _take(files)
        except OSError as error:
            _say(f"cannot be adopted: {error.strerror}", files.path)
            continue
        if owned is None:
            continue
        taken.append(owned)
        try:
            repair(files, closing, disk=disk)
        except (OSError, ValueError) as error:
            owned.incomplete = True
            _say(f"cannot be closed, which is tried again when it is shipped: {error}", files.path)
        owned.secured = False
        try:
            owned.secure(disk)
        except OSError as error:
            _say(f"cannot be synced, and is not sent before that: {error.strerror}", files.path)
    return taken


def _take(files: StreamFiles) -> Owned | None:
    """Return the stream if its owner is dead and there is something in it."""
    try:
        fd = os.open(files.lock, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO or a device must not hold us
    except FileNotFoundError:
        if (files.path / _SHIPPED).exists():
            _remove_shipped(files)
        elif any(files.signal(signal).numbers() for signal in SIGNALS):
            _say("has segments and no lock, so it is left as it is", files.path)
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        _say("has a lock that is not a file, so it is left as it is", files.path)
    elif _lock(fd, files.lock):
        return Owned(files, fd, adopted=True)
    os.close(fd)
    return None


def _lock(fd: int, path: Path) -> bool:
    """Lock the open file `fd` unless it is locked, or is no longer what `path` names."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _remove_shipped(files: StreamFiles) -> None:
    """Remove all but a non-empty rejected/, the mark last, so that whoever is stopped by an error goes on later."""
    with contextlib.suppress(FileNotFoundError):  # another process is at it too
        for path in files.path.iterdir():
            if path.name in SIGNALS:
                shutil.rmtree(path)
            elif path.name not in {_SHIPPED, files.rejected.name}:
                path.unlink()
        with contextlib.suppress(OSError):  # what was rejected stays
            files.rejected.rmdir()
        (files.path / _SHIPPED).unlink()
        with contextlib.suppress(OSError):
            files.path.rmdir()
    sync_directory(files.path.parent)


def _remove_unfinished(folder: Path) -> None:
    """Remove the streams whose makers died before they had a name."""
    if not folder.is_dir():
        return
    with _exclusive(folder):
        for path in folder.glob(".*"):
            lock = path / "lock"
            try:
                fd = os.open(lock, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:  # died before the lock was made, or no directory of ours: then it is not empty
                with contextlib.suppress(OSError):
                    path.rmdir()
                continue
            try:
                if _lock(fd, lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Let only one process at a time make or remove hidden directories: a lock is made before it is locked."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _say(what: str, path: Path) -> None:
    if _throttle.due(path):
        log.error("stream %s %s", path, what)
