"""The page of model kinds: what is written there is what a server does."""

from __future__ import annotations

from scripts.model_kinds import FILE, KINDS, NOTHING, page


async def test_the_page_is_what_the_script_writes() -> None:
    """docs/model-kinds.md has each kind as it is served now: what it needs, its call, its answer, its record."""
    assert FILE.read_text(encoding="utf-8") == await page(), "run: python -m scripts.model_kinds"


def test_most_kinds_need_nothing() -> None:
    """Most kinds are served by their bare file."""
    text = FILE.read_text(encoding="utf-8")
    assert text.count(f"| `model.toml` | {NOTHING} |") > len(KINDS) / 2
