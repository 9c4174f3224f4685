"""The section `paper` is refused by its key where it cannot be."""

from __future__ import annotations

import pytest

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_paper import PaperConfig, check_paper
from pumpwatch.errors import ConfigError

SOURCE = ConfigSource("config")


@pytest.mark.parametrize("dsn", ["", "postgresql://me@db:5432/paper", "postgres://db/paper"])
def test_a_file_by_default_or_a_database(dsn: str) -> None:
    check_paper(PaperConfig(ledger_dsn=dsn), SOURCE)


@pytest.mark.parametrize("dsn", ["mysql://db/paper", "/var/lib/ledger.sqlite3", "host=db"])
def test_another_address_is_refused_by_its_key(dsn: str) -> None:
    with pytest.raises(ConfigError, match=r"paper\.ledger_dsn: not the address of a PostgreSQL database"):
        check_paper(PaperConfig(ledger_dsn=dsn), SOURCE)
