"""Finds the models of `PREDICTOR_MODEL`: a file, a model folder, versions by number, or a folder of any of these.

    churn.onnx                          a model with one version
    iris/model.toml  iris/*.onnx        the same, with a description
    iris/1/model.onnx  iris/2/…         a version for each number: the layout of Triton and KServe
    models/iris/…  models/churn.onnx    several models

Nothing is loaded here, and nothing of a file's content is read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from predictor.inference.manifest import FILE, SUFFIX
from predictor.inference.model_name import name_of
from predictor.inference.runtime_errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "model.onnx"
"""What Triton and KServe call the file of a version."""
_FOREIGN = "config.pbtxt"
_NUMBER = re.compile(r"[1-9][0-9]{0,17}").fullmatch
"""As Triton has it: with a zero in front two folders would be one version."""

Fingerprint = tuple[tuple[str, int, int, int, int], ...]
"""Name, size, inode and times of each file: other files have another one."""


class Source(NamedTuple):
    """Where one version of a model lies."""

    path: Path
    """The ONNX file or the folder with a `model.toml`; a folder without either is what cannot be loaded."""
    name: str | None = None
    """The model's name where the layout says it; None: the description or the file says it."""
    number: int | None = None
    """The version where the layout says it."""
    versions: Path | None = None
    """The folder that has the versions of this model, if there is one."""

    def __str__(self) -> str:
        """Return it for a sentence."""
        return str(self.path)

    @property
    def model(self) -> Path:
        """The file or folder that is this model, with all of its versions."""
        return self.versions or self.path

    @property
    def version(self) -> str | None:
        """The version as a text, where the layout says it."""
        return None if self.number is None else str(self.number)

    def fingerprint(self) -> Fingerprint:
        """Return what changes when a file of this version does, without reading any; empty where there is none."""
        folder = self.path if self.path.is_dir() else self.path.parent
        # Beside a bare file lie other models, or anything; exporters call its weights after it.
        only = "" if self.path.is_dir() or self.number is not None else self.path.stem
        try:
            return tuple(
                (each.name, found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
                for each in _entries(folder)
                if each.name.startswith(only) and each.is_file()
                for found in (each.stat(),)
            )
        except (OSError, ModelError):  # it goes at this moment
            return ()


class Found(NamedTuple):
    """What a path holds."""

    sources: tuple[Source, ...]
    """By name and version, the oldest first."""
    notes: tuple[str, ...] = ()
    """What was passed over, one sentence each."""


def find(path: Path) -> Found:
    """Return where the models of a path lie; raises ModelError if there is none."""
    if not path.is_dir() or (path / FILE).is_file():
        return Found((Source(path),))  # one that is not there is refused by whoever loads it
    by_number = _versions(path)
    if by_number:
        return Found(tuple(by_number), tuple(_foreign(path)))
    sources: list[Source] = []
    notes: list[str] = []
    for each in _entries(path):
        found = _model_in(each)
        sources += found
        if found:
            notes += _foreign(each) if each.is_dir() else ()
        elif each.is_dir():
            notes.append(f"{each} is passed over, since no model is in it")
    if not sources:
        wanted = f"wanted a {FILE}, versions by number (1/{MODEL}), or folders and ONNX files of several models"
        msg = f"{path} has no model; {wanted}."
        raise ModelError(msg)
    return Found(tuple(sources), tuple(notes))


def one(path: Path) -> Source:
    """Return the only model of a path in its highest version; raises ModelError if there are several, or none."""
    found = find(path).sources
    models = dict.fromkeys(each.model for each in found)
    if len(models) > 1:
        msg = f"{path} has several models; wanted one of them: {', '.join(map(str, models))}"
        raise ModelError(msg)
    return found[-1]


def _model_in(path: Path) -> list[Source]:
    """Return the versions of the model that an entry of a folder of models is; none if it is no model."""
    if not path.is_dir():
        return [Source(path)] if path.suffix == SUFFIX else []
    if (path / FILE).is_file():
        return [Source(path)]
    if by_number := _versions(path):
        return by_number
    files = _onnx_files(path)
    return [Source(files[0], name_of(path.name))] if len(files) == 1 else []


def _versions(folder: Path) -> list[Source]:
    """Return the versions by number in a folder, the lowest first."""
    numbers = sorted((int(each.name), each) for each in _entries(folder) if each.is_dir() and _NUMBER(each.name))
    name = name_of(folder.resolve().name)
    return [Source(_version_in(each), name, number, folder) for number, each in numbers]


def _version_in(folder: Path) -> Path:
    if (folder / FILE).is_file():
        return folder
    named = folder / MODEL
    if named.is_dir():  # Triton's way with weights in further files
        return _version_in(named)
    files = _onnx_files(folder)
    return named if named in files else files[0] if len(files) == 1 else folder


def _onnx_files(folder: Path) -> list[Path]:
    return [each for each in _entries(folder) if each.suffix == SUFFIX and each.is_file()]


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder, but nothing hidden: editors, git and mounted ConfigMaps keep their own there."""
    try:
        return sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        msg = f"{folder} cannot be read: {error.strerror}."
        raise ModelError(msg) from error


def _foreign(folder: Path) -> Iterator[str]:
    if (folder / _FOREIGN).is_file():
        yield f"{folder / _FOREIGN} is not read: a model says by its own file what it takes and gives"
    if _versions(folder):
        for each in _entries(folder):
            if each.is_dir() and not _NUMBER(each.name) and _onnx_files(each):
                yield f"{each} is passed over: a version is called by a number from 1 on"
