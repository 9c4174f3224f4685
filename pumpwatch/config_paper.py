"""The section `paper`: paper trading."""

from __future__ import annotations

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_section import Section
from pumpwatch.errors import ConfigError

SCHEMES = ("postgresql://", "postgres://")


class PaperConfig(Section):
    """The place of the account ledger: a PostgreSQL address, or empty for a file in the data folder."""

    ledger_dsn: str = ""


def check_paper(paper: PaperConfig, source: ConfigSource) -> None:
    """Raise ConfigError unless the address is empty or names a PostgreSQL database."""
    if paper.ledger_dsn and not paper.ledger_dsn.startswith(SCHEMES):
        raise ConfigError(f"{source.at('paper.ledger_dsn')}: paper.ledger_dsn: not the address of a PostgreSQL database",
                          "give postgresql://USER@HOST:PORT/DATABASE, or leave it empty for a file in the data folder")
