"""The group `db`: the state of every store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.cells import size
from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import print_json, print_message, print_table
from pumpwatch.commands.table import Column, Row

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.ops.stores import StoreRow

STORES = (Column("store"), Column("state", wraps=True), Column("size", right=True), Column("parts", right=True),
          Column("version", rank=1), Column("pool", right=True, optional=True), Column("compression", right=True, optional=True),
          Column("cache hits", right=True, optional=True))
CALLS = (Column("store"), Column("operation"), Column("calls", right=True), Column("failed", right=True),
         Column("running", right=True, rank=1), Column("p50 ms", right=True), Column("p99 ms", right=True))


@click.group()
def db() -> None:
    """Look at the stores: journal, its side files, sinks, Redis."""


@db.command()
@json_option
@config_option
def status(as_json: bool, config: Config) -> int:
    """Show the health, size and response times of every store.

    Each sink of the config and its Redis are queried now. The times come from the running collector: the last 1,000 calls of
    each method. `pool` is the number of busy connections of all open ones. Exit code 69 if a store does not answer or has a
    problem.

    \b
    Example: pumpwatch db status -c pumpwatch.yaml
             pumpwatch db status --json
    """
    from pumpwatch.errors import EXIT_OK, EXIT_UNAVAILABLE, PumpWatchError
    from pumpwatch.ops import health
    from pumpwatch.ops.stores import describe
    from pumpwatch.plugins import load_plugins

    folder, figures = Path(config.store.dir), None
    try:
        figures = health.read(folder)
    except PumpWatchError as error:
        print_message(f"response times are not known: {error.message}")
    rows = list(describe(folder, load_plugins(config).make_sinks(config), figures))
    if config.redis.nodes:
        rows.append(_redis(config, figures))
    if as_json:
        print_json(row.figures() for row in rows)
    else:
        print_table(STORES, map(_store, rows))
        calls = [(row.name, call) for row in rows for call in row.calls]
        if calls:
            print_table(CALLS, (_call(name, call) for name, call in calls), "\ncalls of the running collector")
    return EXIT_OK if all(row.works for row in rows) else EXIT_UNAVAILABLE


def _redis(config: Config, figures: Mapping[str, Any] | None) -> StoreRow:
    """Query Redis and return its row; the calls and the pool are those of the collector."""
    from dataclasses import replace

    from pumpwatch.ops.redis_check import NAME, calls_of, store_facts
    from pumpwatch.ops.stores import StoreRow

    state, facts = store_facts(config)
    held = (figures or {}).get("redis") or {}
    facts = replace(facts, connections=held.get("connections"), busy=held.get("busy"))
    counts = held.get("counts", {})
    return StoreRow(NAME, state, facts, calls_of(figures), hits=counts.get("hits"), misses=counts.get("misses"))


def _store(row: StoreRow) -> Row:
    facts = row.facts
    return (row.name, row.state, "" if facts.size_bytes is None else size(facts.size_bytes), _known(facts.parts, ","),
            facts.version, "" if facts.connections is None else f"{facts.busy} of {facts.connections}",
            _known(facts.compression_ratio, ".1f"), _known(facts.cache_hit_ratio, ".1%"))


def _known(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)


def _call(name: str, call: Mapping[str, Any]) -> Row:
    return (name, call["operation"], f"{call['total']:,}", f"{call['failed']:,}", str(call["running"]),
            _known(call["p50_ms"], ".1f"), _known(call["p99_ms"], ".1f"))
