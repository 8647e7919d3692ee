"""Models that are reloaded under load: no request fails, and no record names a version that did not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos import reloads

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("gunicorn", [False, True], ids=["serve", "gunicorn"])
async def test_reloads_under_load(tmp_path: Path, *, gunicorn: bool) -> None:
    """Two models in three versions, a broken one among them, change under callers who notice only other answers."""
    if gunicorn:
        pytest.importorskip("gunicorn", reason="gunicorn is an extra: pip install '.[gunicorn]'")
    found = await reloads.run(tmp_path, 6, gunicorn=gunicorn)
    assert found.failed == []
    assert found.wrong == []
    added = {*found.answers.values()}
    assert 1.0 in added  # the version that stays
    assert len([each for each in added if each > 100_000]) >= 6  # the other model's
    assert len([each for each in added if 1.0 < each < 100_000]) >= 6


def test_the_check_finds_a_wrong_version(tmp_path: Path) -> None:
    """An answer that its record does not have, or another version would have given, is found."""
    repository = reloads.Repository(tmp_path / "models")
    found = reloads.Run(answers={"a-job": 1.0})
    (tmp_path / "outbox" / "v1").mkdir(parents=True)
    reloads.check(found, repository, tmp_path / "outbox")
    assert found.wrong == ["a-job was answered 1.0, its record has None"]
