"""A sink that behaves as its option says: `misfit` cannot be used, `away` is never there, `picky` refuses a row a write."""

from __future__ import annotations

import msgspec

from pumpwatch import Catalogue, ConfigError, ServiceUnavailable, SinkPlugin, TradeBatch, WriteResult, hookimpl


class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """`sinks.odd` of the config."""

    way: str


class OddSink:
    """Keeps nothing."""

    def __init__(self, options: Options) -> None:
        self._way = options.way

    def open(self) -> None:
        """Say so, where it cannot be used."""
        if self._way == "misfit":
            raise ConfigError("column price is STRING, expected DOUBLE", "drop the table, or give a table_prefix")
        if self._way == "away":
            raise ServiceUnavailable("connection refused")

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        """Take all rows, or all but the first."""
        return WriteResult(len(batch) - 1, [(0, "not this one")]) if self._way == "picky" else WriteResult(len(batch))

    def trouble(self) -> str:
        """Have none."""
        return ""

    def read(self, names, start_ns, end_ns, catalogue) -> TradeBatch:
        """Have nothing."""
        return TradeBatch.empty()

    def write_listing(self, listing, event) -> None:
        """Refuse as a server does that was installed again."""
        raise ConfigError("it refuses the user")

    def write_health(self, rows) -> None:
        """Refuse likewise."""
        raise ConfigError("it refuses the user")

    def close(self) -> None:
        """Do nothing."""


@hookimpl
def sinks() -> list[SinkPlugin]:
    """Return it."""
    return [SinkPlugin("odd", Options, OddSink)]
