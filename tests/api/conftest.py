"""Fixtures of the tests of `api`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import falcon.testing
import pytest

from pumpwatch.api.desk import Desk
from tests.api.desk import client_of, config_of, desk_of, fill_journal
from tests.api.served import Served


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk without a collector, its data in an empty folder."""
    made = desk_of(config_of(tmp_path))
    yield made
    made.readers.close()


@pytest.fixture
def client(desk: Desk) -> falcon.testing.TestClient:
    """A client of that desk's application."""
    return client_of(desk)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server in a process of its own, with 2,000 trades in its journal and short time limits."""
    folder = tmp_path_factory.mktemp("served")
    fill_journal(folder / "data")
    with Served(folder, requests_per_minute=1_000_000, connections=20) as running:
        yield running
