"""Folders of models for servers of several: iris as it is committed, and models of images."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bench import image_models
from bench.environments import ROOT

if TYPE_CHECKING:
    from pathlib import Path

IRIS = ROOT / "models" / "iris"
_PER_REQUEST = '\n[log]\nrows = "per_request"\n'


def repository(folder: Path, *, per_request: bool = False) -> Path:
    """Return the repository below a folder, made if it is not there; `per_request`: iris has a record a request."""
    found = folder / ("models-per-request" if per_request else "models")
    if not found.exists():
        shutil.copytree(IRIS, found / "iris")
        if per_request:
            with (found / "iris" / "model.toml").open("a", encoding="utf-8") as about:
                about.write(_PER_REQUEST)
        image_models.write(found)
    return found


def file_of(repository_folder: Path, model: str) -> Path:
    """Return the ONNX file of a model of images."""
    return repository_folder / model / "1" / "model.onnx"
