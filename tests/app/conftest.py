"""Fixtures of the tests of `app`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.app.collector import Collector
from tests.app.unstarted import unstarted


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    """A collector in this process that is not started, with a sink that rejects health rows and listings."""
    return unstarted(tmp_path)
