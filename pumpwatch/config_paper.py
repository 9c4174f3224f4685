"""The section `paper`: paper trading."""

from __future__ import annotations

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_section import Section
from pumpwatch.errors import ConfigError

SCHEMES = ("postgresql://", "postgres://")


class PaperConfig(Section):
    """The place of the account ledger: empty for a file of the data folder."""

    ledger_dsn: str = ""


def check_paper(paper: PaperConfig, source: ConfigSource) -> None:
    """Raise ConfigError unless the address is empty or of a PostgreSQL database."""
    if paper.ledger_dsn and not paper.ledger_dsn.startswith(SCHEMES):
        raise ConfigError(f"{source.at('paper.ledger_dsn')}: paper.ledger_dsn: not the address of a PostgreSQL database",
                          "postgresql://USER@HOST:PORT/DATABASE; empty: a file of the data folder")
