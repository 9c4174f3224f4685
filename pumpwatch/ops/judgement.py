"""The one judgement of a collector's figures: its log line, `doctor` and the rows in `exchange_health` all show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

OK, WARN, FAIL = "ok", "warn", "fail"

SHOWN = 5  # symbols of many
LAG_MS = 5_000  # a venue's trades later than this: the clock or the line is wrong
PATIENCE_S = 30.0  # a connection that is lost and comes back within that is no failure
BEHIND = 1_000_000  # trades that a sink lacks


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said of a venue, sink or board. `severity` is warn or fail, and ok where it mends itself as it should."""

    name: str
    severity: str
    text: str
    hint: str


def judge(status: Mapping[str, Any]) -> Iterator[Judgement]:
    """Yield what is to be said of a collector's figures; nothing where all is well."""
    for row in status.get("venues", ()):
        yield from judge_venue(row)
    for sink in status.get("sinks", ()):
        yield from _sink(f"sink {sink.get('name')}", str(sink.get("state", "")), sink.get("backlog_trades", 0))
    for name, board in (status.get("listing") or {}).items():
        if isinstance(board, Mapping) and not board.get("up", True) and board.get("reason"):  # without one it was not asked yet
            yield Judgement(f"listing {name}", FAIL, f"down: {board['reason']}",
                            "listings are not seen meanwhile; it is asked again by itself")
    dropped = status.get("journal", {}).get("dropped_trades", 0)
    if dropped:
        yield Judgement("memory", FAIL, f"{dropped:,} trades were dropped while the disk refused them; the gaps are recorded",
                        "make room on the disk")


def judge_venue(row: Mapping[str, Any]) -> Iterator[Judgement]:
    """Yield what is to be said of one venue's figures, the most serious first."""
    name = f"{row.get('exchange')}.{row.get('market_type')}"
    up, wanted, why = row.get("connections_up", 0), row.get("connections", 0), row.get("problem", "")
    listed, late = row.get("list_problem", ""), row.get("down_s", 0) > PATIENCE_S
    if not wanted:
        reason = f"no instrument list: {listed}" if listed else why or "no symbol is known yet"
        yield Judgement(name, FAIL if listed or late else WARN, f"nothing is read: {reason}",
                        "is its rest_url reachable from here? it is asked again by itself, and the gap is recorded")
    elif up < wanted:
        yield Judgement(name, FAIL if late or (why and not up) else WARN,
                        f"{up} of {wanted} connections are up" + (f", {why}" if why else ""),
                        "is its ws_url reachable from here? it connects again by itself, and the gap is recorded")
    if wanted and listed:
        yield Judgement(name, WARN, f"its instrument list cannot be relied on: {listed}",
                        "what is read goes on; newcomers are not seen meanwhile")
    silent = row.get("silent", ())
    if silent:
        yield Judgement(name, WARN, f"{len(silent):,} symbols are subscribed and silent, though they trade: "
                                    f"{', '.join(silent[:SHOWN])}{', ...' if len(silent) > SHOWN else ''}",
                        "it subscribes again by itself; where all of a market are silent, has its address changed (ws_url)?")
    if row.get("lag_ms", 0) > LAG_MS:
        yield Judgement(name, WARN, f"trades arrive {row['lag_ms'] / 1e3:.1f} s late",
                        "is this machine's clock right, and its line wide enough?")


def _sink(name: str, state: str, behind: int) -> Iterator[Judgement]:
    text, refilling = f"{state}, {behind:,} trades behind", state.startswith("refilling")
    if state not in ("up", "starting") and not refilling:
        yield Judgement(name, FAIL, text, "the journal keeps the trades; the collector's log says what the sink answers")
    elif refilling or behind > BEHIND:
        yield Judgement(name, WARN if behind > BEHIND else OK, text,
                        "it catches up by itself; the journal keeps the trades meanwhile")
