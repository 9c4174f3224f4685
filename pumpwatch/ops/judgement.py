"""Judge a collector's figures, for its log line, `doctor` and the rows of `exchange_health`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pumpwatch.findings import FAIL, OK, WARN, Finding

SHOWN = 5  # symbols of many
LAG_MS = 5_000  # a greater lag means a problem of the clock or the network
PATIENCE_S = 30.0  # a connection that is back within this is not a failure
DAYS_LEFT = 3.0
BEHIND = 1_000_000  # trades that a sink has not received yet


def judge(status: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the problems in a collector's figures."""
    for row in status.get("venues", ()):
        yield from judge_venue(row)
    for sink in status.get("sinks", ()):
        yield from _sink(f"sink {sink.get('name')}", str(sink.get("state", "")), sink.get("backlog_trades", 0))
    for name, board in (status.get("listing") or {}).items():
        if isinstance(board, Mapping) and not board.get("up", True) and board.get("reason"):  # else not polled yet
            yield Finding(f"listing {name}", FAIL, f"down: {board['reason']}",
                          "check that its url is reachable from this machine; the collector polls it again by itself")
    for channel in status.get("notify", ()):
        if not channel.get("up", True):
            yield Finding(f"notify {channel.get('name')}", WARN, f"does not accept messages: {channel.get('reason')}",
                          "`pumpwatch notify test` shows whether it works again; waiting messages are then sent by themselves")
    yield from _disk(status.get("disk") or {})
    memory = status.get("memory") or {}
    if memory.get("level") == "above":
        yield Finding("memory", WARN, f"{memory.get('rss_bytes', 0) / 1e6:,.0f} MB are used, more than the limit of "
                      f"{memory.get('limit_bytes', 0) / 1e6:,.0f} MB", "raise memory.limit_mb, or lower drain.memory_rows and "
                      "store.memory_limit_trades")
    dropped = status.get("journal", {}).get("dropped_trades", 0)
    if dropped:
        yield Finding("memory", FAIL, f"{dropped:,} trades were dropped because the disk could not store them; the gaps are "
                      "recorded", "free space on the disk of store.dir")


def _disk(figures: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a judgement of each disk that fills up."""
    for disk in figures.get("disks", ()):
        level, days = disk.get("level"), disk.get("days_left")
        left = "" if days is None else f", full in {days:.1f} days at the present rate"
        short = days is not None and days < DAYS_LEFT
        if level in ("emergency", "full") or short:
            yield Finding(f"disk {disk.get('name')}", FAIL if level == "full" else WARN,
                          f"{disk.get('used_share') or 0:.0%} used, {disk.get('free_bytes', 0) / 1e9:.1f} GB free{left}",
                          f"make room in {disk.get('folder')}, or lower store.max_bytes; `pumpwatch retention --dry-run` shows"
                          " what is removed by itself")


def judge_venue(row: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the problems in one venue's figures, the most serious first."""
    name = f"{row.get('exchange')}.{row.get('market_type')}"
    up, wanted, why = row.get("connections_up", 0), row.get("connections", 0), row.get("problem", "")
    listed, late = row.get("list_problem", ""), row.get("down_s", 0) > PATIENCE_S
    if not wanted and row.get("elsewhere") and not row.get("instruments"):
        pass  # other collectors of the cluster read all of it
    elif not wanted and row.get("no_coin_listed"):
        yield Finding(name, WARN, "nothing is read: none of the chosen coins is listed",
                      "check the spelling of the coins; a venue that lists one later is read from then on")
    elif not wanted:
        reason = f"no instrument list: {listed}" if listed else why or "no symbol is known yet"
        yield Finding(name, FAIL if listed or late else WARN, f"nothing is read: {reason}",
                      "check that its rest_url is reachable from this machine; the request is repeated, and the gap is recorded")
    elif up < wanted:
        yield Finding(name, FAIL if late or (why and not up) else WARN,
                      f"{up} of {wanted} connections are up" + (f", {why}" if why else ""),
                      "check that its ws_url is reachable from this machine; the connection is retried, and the gap is recorded")
    if listed and (wanted or row.get("no_coin_listed")):
        yield Finding(name, WARN, f"its instrument list cannot be relied on: {listed}",
                      "known symbols are still read; new ones are not seen until a complete list arrives")
    if row.get("redundancy_problem"):
        yield Finding(name, WARN, f"symbols are not read twice: {row['redundancy_problem']}",
                      "they are read on one connection; the second is tried again with the next instrument list")
    silent = row.get("silent", ())
    if silent:
        yield Finding(name, WARN, f"{len(silent):,} symbols are subscribed and silent, though they trade: "
                                  f"{', '.join(silent[:SHOWN])}{', ...' if len(silent) > SHOWN else ''}",
                      "the collector subscribes again by itself; if a whole market is silent, check its ws_url")
    if row.get("lag_ms", 0) > LAG_MS:
        yield Finding(name, WARN, f"trades arrive {row['lag_ms'] / 1e3:.1f} s late",
                      "check this machine's clock (NTP) and the bandwidth of its network")


def _sink(name: str, state: str, behind: int) -> Iterator[Finding]:
    text, refilling = f"{state}, {behind:,} trades behind", state.startswith("refilling")
    if state == "off":
        return  # a roll-out gives it nothing yet
    if state not in ("up", "starting") and not refilling:
        yield Finding(name, FAIL, text, "the journal keeps the trades; see the sink's answer in the collector's log")
    elif refilling or behind > BEHIND:
        yield Finding(name, WARN if behind > BEHIND else OK, text,
                      "it catches up by itself; the journal keeps the trades until then")
