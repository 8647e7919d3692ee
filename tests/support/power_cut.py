"""Power cuts on demand: an ext4 on a loop device that forgets, at one call, whatever was not synced.

- `with Ext4(tmp_path / "disk") as disk:` mounts it, or skips the test where that is not allowed
- `disk.cut()` is the power cut; then end the processes that write there, and `disk.restore()` brings it back, its
  journal replayed, as a machine that starts again does
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from typing import Self

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN of linux/ext4.h: _IOR('X', 125, __u32)
_NO_LOG_FLUSH = struct.pack("I", 2)  # EXT4_GOING_FLAGS_NOLOGFLUSH: not even the file system's journal is written
_PATIENCE = 120  # s, for a command; the machine may be busy


class NotMountable(RuntimeError):
    """A file system on a loop device cannot be had here; the message says why."""


class Ext4:
    """An ext4 of its own whose power can be cut; a context manager that leaves neither mount nor loop device."""

    def __init__(self, path: Path, size: str = "192M") -> None:
        """Make the file system in a file beside `path` and mount it there; raises NotMountable."""
        self.path = path
        self._image = path.with_name(f"{path.name}.ext4")
        self._device = ""
        path.mkdir()
        try:
            _run("truncate", "--size", size, str(self._image))
            _run("mkfs.ext4", "-q", str(self._image))
            self._device = _run("losetup", "--find", "--show", str(self._image))
            self.mount()
        except NotMountable:
            self.end()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take it down."""
        self.end()

    def mount(self) -> None:
        """Mount it, read and write; the file system's journal is replayed."""
        _run("mount", "-o", "errors=remount-ro", self._device, str(self.path))

    def cut(self, *processes: int) -> None:
        """Cut the power: from now on every call on a file here fails with EIO, and nothing more gets to the disk.

        `processes` that write here are stopped before, as the power would: an fsync that runs beside the cut may
        return as if it had done its work (seen in 3 of 30 cuts of a bare loop of append and fsync).
        """
        for process in processes:
            _stop(process)
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(fd)

    def fail(self) -> None:
        """Let the kernel find an error, upon which it makes the file system read-only at once (errors=remount-ro)."""
        name = os.path.basename(self._device)  # noqa: PTH119 - a name, no file
        with open(f"/sys/fs/ext4/{name}/trigger_fs_error", "w", encoding="ascii") as switch:  # noqa: PTH123 - as above
            switch.write("planted by a test")

    def restore(self) -> None:
        """Bring it back after a cut or an error; whoever had a file open here must have ended.

        Tried again for a while: a process that is just ending, or a mount namespace that was made meanwhile, holds the
        device for a moment. Raises NotMountable.
        """
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self._restore()
            except NotMountable:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def _restore(self) -> None:
        if self.path.is_mount():
            _run("umount", str(self.path))
        _run(
            "e2fsck", "-f", "-y", self._device, statuses=(0, 1)
        )  # replays the journal, takes back the mark of an error
        self.mount()

    def end(self) -> None:
        """Unmount it and give the loop device back."""
        if self._device:
            subprocess.run(["umount", "--lazy", str(self.path)], check=False, capture_output=True, timeout=_PATIENCE)
            subprocess.run(["losetup", "--detach", self._device], check=False, capture_output=True, timeout=_PATIENCE)
            self._device = ""
        self._image.unlink(missing_ok=True)


def ext4(path: Path) -> Ext4:
    """Return a file system for a test; skips the test where it cannot be mounted."""
    try:
        return Ext4(path)
    except NotMountable as error:
        pytest.skip(f"no file system for power cuts here, which takes root and loop devices: {error}")


def _stop(process: int) -> None:
    """Stop a process and wait until each of its threads stands still, which is after the system call it was in."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(process, signal.SIGSTOP)
        end = time.monotonic() + _PATIENCE
        tasks = Path(f"/proc/{process}/task")
        while any(_state(task) not in "TZX" for task in tasks.iterdir()):
            if time.monotonic() > end:
                message = f"process {process} does not stand still"
                raise TimeoutError(message)
            time.sleep(0.001)


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _run(*command: str, statuses: tuple[int, ...] = (0,)) -> str:
    """Run a command and return what it says; raises NotMountable."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise NotMountable(str(error)) from error
    if done.returncode not in statuses:
        what = f"{command[0]}: {(done.stderr or done.stdout).strip()}"
        raise NotMountable(what)
    return done.stdout.strip()
