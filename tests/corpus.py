"""The recorded frames, if they are present: a folder `shared/corpus` beside the checkout."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "corpus"

CORPUS: Path | None = _BESIDE if _BESIDE.is_dir() else None

needs_corpus = pytest.mark.skipif(CORPUS is None, reason="the recorded frames are not beside this checkout")


def rows(name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON lines file of the corpus, packed or not."""
    assert CORPUS is not None
    path = CORPUS / name
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)
