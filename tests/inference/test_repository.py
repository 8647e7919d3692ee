"""Where models lie: a file, a folder with a description, versions by number, a folder of several."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from predictor.inference import repository
from predictor.inference.manifest import read
from predictor.inference.model import load
from predictor.inference.repository import Source
from predictor.inference.runtime_errors import ModelError
from predictor.inference.toml_table import DescriptionError
from tests.support import bare_models, model_folders, model_repository

IRIS = Path(__file__).parents[2] / "models" / "iris"


def test_a_file_and_a_described_folder_are_one_version_each(tmp_path: Path) -> None:
    """What says its own name and version is taken as it is."""
    file = bare_models.price(tmp_path / "price.onnx")
    assert repository.find(file).sources == (Source(file),)
    assert repository.find(IRIS).sources == (Source(IRIS),)


def test_versions_are_folders_by_number(tmp_path: Path) -> None:
    """The layout of Triton and KServe: versions in the order of their numbers, named after their folder."""
    root = tmp_path / "My Price"
    for number in (2, 10, 1):
        bare_models.price(root / str(number) / "model.onnx")
    (root / "config.pbtxt").write_text("backend: 'onnxruntime'")
    for name in ("docs", "02", "0", "1.5"):
        bare_models.price(root / name / "model.onnx")
    found = repository.find(root)
    assert [(each.name, each.version) for each in found.sources] == [("my-price", n) for n in ("1", "2", "10")]
    assert {each.model for each in found.sources} == {root}
    first, *others = found.notes
    assert "config.pbtxt is not read" in first
    passed = [
        f"{root / name} is passed over: a version is called by a number from 1 on"
        for name in ("0", "02", "1.5", "docs")
    ]
    assert others == passed


def test_a_version_has_its_file_under_any_name(tmp_path: Path) -> None:
    """`model.onnx`, an only file of another name, a folder `model.onnx`, a `model.toml`; else it is refused later."""
    bare_models.price(tmp_path / "m" / "1" / "other.onnx")
    bare_models.price(tmp_path / "m" / "2" / "model.onnx" / "model.onnx")
    model_folders.wide(tmp_path / "m" / "3")
    bare_models.price(tmp_path / "m" / "4" / "model.onnx")
    bare_models.price(tmp_path / "m" / "4" / "also.onnx")
    (tmp_path / "m" / "5").mkdir()
    found = [each.path.relative_to(tmp_path / "m").as_posix() for each in repository.find(tmp_path / "m").sources]
    assert found == ["1/other.onnx", "2/model.onnx/model.onnx", "3", "4/model.onnx", "5"]


def test_a_folder_of_models(tmp_path: Path) -> None:
    """Several models lie beside one another, each in its own layout; what is hidden or no model is passed over."""
    shutil.copytree(IRIS, tmp_path / "iris")
    bare_models.price(tmp_path / "price.onnx")
    bare_models.churn(tmp_path / "churn" / "exported.onnx")
    model_repository.version(tmp_path, "rent", 1, 1.0)
    bare_models.price(tmp_path / ".hidden" / "model.onnx")
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").touch()
    found = repository.find(tmp_path)
    assert [(each.model.name, each.name, each.version) for each in found.sources] == [
        ("exported.onnx", "churn", None),
        ("iris", None, None),
        ("price.onnx", None, None),
        ("rent", "rent", "1"),
    ]
    assert found.notes == (f"{tmp_path / 'notes'} is passed over, since no model is in it",)


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    """The sentence names what was wanted."""
    with pytest.raises(ModelError, match=r"has no model; wanted a model\.toml, versions by number"):
        repository.find(tmp_path)


def test_a_number_is_the_version(tmp_path: Path) -> None:
    """The folders' name and number are the model's; a `model.toml` may leave them out, but not have another name."""
    folder = model_folders.wide(tmp_path / "wide" / "7")
    (source,) = repository.find(tmp_path / "wide").sources
    about = load(source.path, name=source.name, version=source.version).description
    assert (about.name, about.version) == ("wide", "7")
    toml = folder / "model.toml"
    lines = [line for line in toml.read_text().splitlines() if line not in {'name = "wide"', 'version = "1"'}]
    toml.write_text("\n".join(lines))
    assert read(folder, "wide", "7").version == "7"
    with pytest.raises(DescriptionError, match="name is missing"):
        read(folder)
    with pytest.raises(DescriptionError, match="as its folder is called"):
        read(model_folders.wide(tmp_path / "other" / "1"), "other", "1")


def test_a_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    """A changed, a new and a replaced file are seen without reading any; another model's file beside it is not."""
    file = bare_models.price(tmp_path / "price.onnx")
    source = Source(file)
    first = source.fingerprint()
    assert source.fingerprint() == first
    bare_models.churn(tmp_path / "churn.onnx")
    assert source.fingerprint() == first
    copy = tmp_path / "copy"
    shutil.copy2(file, copy)  # the same size and time
    copy.replace(file)
    assert source.fingerprint() != first
    (tmp_path / "price.onnx.data").touch()
    assert len(source.fingerprint()) == 2
    assert Source(tmp_path / "none" / "x.onnx").fingerprint() == ()
