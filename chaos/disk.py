"""A disk of the outbox's own, of some megabytes, which can be filled to the last byte."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SIZE = "192m"  # room for what is answered during an outage of a minute; it is memory
_BLOCK = bytes(1 << 16)


class SmallDisk:
    """A tmpfs, or, where mounting is not permitted, just a folder that cannot be full."""

    def __init__(self, path: Path) -> None:
        """Mount it."""
        self.path = path
        path.mkdir()
        self._filler = path / "filler"
        self.mounted = False
        with contextlib.suppress(FileNotFoundError):
            command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "chaos", str(path)]
            self.mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0

    def fill(self) -> None:
        """Take all space that is left."""
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

    def end(self) -> None:
        """Unmount it."""
        if self.mounted:
            # Lazily: a worker that was killed a moment ago may still hold a file.
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)
            self.mounted = False
