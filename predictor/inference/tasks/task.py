"""The contract of a task, and what one is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from predictor.inference.batch_trial import Parts
    from predictor.inference.checked_file import Checked
    from predictor.inference.manifest import Gives, Manifest
    from predictor.inference.onnx_session import Session
    from predictor.inference.outputs import Outputs
    from predictor.inference.table_input import Feed


class Task(Protocol):
    """What a model does with a row, read from its outputs."""

    @property
    def name(self) -> str:
        """What `model.toml` calls it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the order of the probabilities; none if there are no classes, or they are not known."""

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the numbers that are no probabilities, in their order."""

    @property
    def gives(self) -> Gives:
        """What a row's answer is."""

    @property
    def checked(self) -> Checked:
        """The file's function as rows run through it."""

    def answer(self, parts: Parts) -> Outputs:
        """Return what the rows give, of what `checked.run` has given for them."""


class Source(NamedTuple):
    """What a task is found in."""

    session: Session
    about: Manifest
    """As far as `model.toml` goes: what it leaves out is empty."""
    content: bytes
    """The file's bytes, for what the runtime does not tell."""
    rows: Feed
    """To try; the sample is the first."""
    most: int
    """So many rows may come together."""
