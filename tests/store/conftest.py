"""Fixtures of the tests of `store`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.store.filled_ledger import filled


@pytest.fixture(scope="session")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that a run left, with a ledger of many pages. Not to be changed: see `folder`."""
    folder = tmp_path_factory.mktemp("left") / "data"
    filled(folder)
    return folder


@pytest.fixture
def folder(left: Path, tmp_path: Path) -> Path:
    """A copy of it, for the test to damage."""
    return Path(shutil.copytree(left, tmp_path / "data"))
