"""Rows that were put aside, as they stand in a file: made in whatever process, once the table's columns are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from predictor.reader.export.spool import blocks_in

if TYPE_CHECKING:
    from predictor.reader.export.columns import Block, Rows
    from predictor.reader.export.learned import Learned
    from predictor.reader.export.writers import Form
    from predictor.reader.sources.piece import Piece


@dataclass(frozen=True)
class Rendering:
    """Makes what a file's writer takes."""

    form: Form
    learned: Learned

    def __call__(self, piece: Piece) -> list[tuple[bytes, int]]:
        """Return the rows of a piece of what was put aside, some at a time, and how many they are."""
        return [self.rendered(block, {}) for block in blocks_in(piece)]

    def rendered(self, block: Block, said: Rows) -> tuple[bytes, int]:
        """Return rows with what was said of them, and how many they are."""
        return self.form.render(self.learned.rows(block) | said), len(block["time"])
