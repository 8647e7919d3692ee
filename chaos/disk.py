"""A disk of the outbox's own, of some megabytes, which can be filled to the last byte, fail, or lose its power."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from typing import TYPE_CHECKING

from tests.support.power_cut import Ext4, NotMountable

if TYPE_CHECKING:
    from pathlib import Path

_SIZE = "192M"  # room for what is answered during an outage of a minute; it is memory, where it is a tmpfs
_BLOCK = bytes(1 << 16)


class SmallDisk:
    """An ext4 on a loop device, else a tmpfs, else, where mounting is not permitted, a folder that is never full."""

    def __init__(self, path: Path) -> None:
        """Mount it."""
        self.path = path
        self._filler = path / "filler"
        self._ext4: Ext4 | None = None
        self.without_power = ""
        """Why its power cannot be cut; empty if it can."""
        self.mounted = True
        try:
            self._ext4 = Ext4(path, _SIZE)
        except NotMountable as error:
            self.without_power = f"no ext4 on a loop device here: {error}"
            self.mounted = self._mount_tmpfs()

    def fill(self) -> None:
        """Take all space that is left; raises OSError if it is not mounted, for then the space is the machine's."""
        if not self.path.is_mount():
            raise OSError(errno.ENODEV, f"{self.path} is not mounted")
        with self._filler.open("ab", buffering=0) as file:
            for size in (len(_BLOCK), 1):
                try:
                    while True:
                        file.write(_BLOCK[:size])
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    def cut(self, *processes: int) -> None:
        """Cut its power, and stop the processes that write to it at that moment (blocking)."""
        assert self._ext4
        self._ext4.cut(*processes)

    def fail(self) -> None:
        """Let the kernel make it read-only, as after an error of the disk."""
        assert self._ext4
        self._ext4.fail()

    def restore(self) -> None:
        """Bring it back; processes that were killed a moment ago may still hold a file (blocking)."""
        assert self._ext4
        self._ext4.restore()

    def end(self) -> None:
        """Unmount it."""
        if self._ext4:
            self._ext4.end()
        elif self.mounted:
            # Lazily: a worker that was killed a moment ago may still hold a file.
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)
        self.mounted = False

    def _mount_tmpfs(self) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "chaos", str(self.path)]
        with contextlib.suppress(FileNotFoundError):
            return subprocess.run(command, check=False, capture_output=True).returncode == 0
        return False
