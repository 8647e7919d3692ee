"""Names of models: what `model.toml` may say, and what a file or folder is called otherwise."""

from __future__ import annotations

import re

PATTERN = "[a-z][a-z0-9_-]*"


def name_of(text: str) -> str:
    """Return the name of a model that is called after its file or folder."""
    slug = re.sub("[^a-z0-9_-]+", "-", text.lower()).strip("-_")
    return slug if slug[:1].isalpha() else f"model-{slug}".rstrip("-")
