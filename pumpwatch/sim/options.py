"""The options of a simulation."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch.config_section import Section


class TapeOptions(Section):
    """Recorded frames to replay instead of generated markets."""

    files: dict[str, list[str]] = msgspec.field(default_factory=dict)  # venue -> JSON lines with `raw`
    speed: float = 1.0  # of the recording's own pace
    rate: float = 0.0  # frames a second and venue instead of that pace


class ListingOptions(Section):
    """A listing that is published at a planned moment, and the jump of its coin."""

    at_s: float  # after the start of trading
    coin: str
    board: str = ""  # empty: the usual one
    markets: list[str] = msgspec.field(default_factory=lambda: ["KRW", "BTC", "USDT"])
    listed: bool = False  # the coin already has other markets there, which changes the title
    title: str = ""  # instead of the board's own words
    text: str = ""  # the body of a notice with such a title
    height: float = 0.25  # of the peak above the price before
    volume: float = 40.0  # the coin trades this many times as often at first


class FaultOptions(Section):
    """A fault: its kind, its time and its place; `faults.KINDS` lists the keys that each kind reads."""

    kind: str
    at_s: float = 0.0
    venue: str = ""  # empty: every venue
    connection: int = 0  # 0: all of them, or `connections` of them
    connections: int = 0
    seconds: float = 5.0
    count: int = 1
    code: int = 1008
    reason: str = "Too many requests"
    status: int = 429
    form: str = ""
    frames: list[str] = msgspec.field(default_factory=list)  # for `malformed`: these, unchanged
    symbol: str = ""  # in the venue's own spelling
    path: str = ""  # a part of a REST path


class SimOptions(Section):
    """All options of a simulation."""

    venues: list[str] = msgspec.field(default_factory=list)  # of the plugins' dialects; empty: all
    symbols: int | list[str] = 20  # coins that trade on every venue: their number, or their names
    roster: int = 0  # instead: the number of symbols on all venues together, spread as on the real ones
    rate: float = 1000.0  # trades a second, all venues together, before listings
    seed: int = 1
    seconds: float = 0.0  # of trading, then it pauses; 0: until it is stopped
    mode: str = "live"  # live, burst (frames made in advance), paced (the same, a frame at a time), tape
    paused: bool = False  # trading waits for the command `resume`
    folder: str = ""  # of certificates and ground truth; empty: a temporary one, removed at the end
    truth: bool = True
    host: str = "127.0.0.1"
    ports: dict[str, int] = msgspec.field(default_factory=dict)  # venue, board or `control` -> port; else any free one
    tick_ms: float = 5.0
    shares: dict[str, float] = msgspec.field(default_factory=dict)  # venue -> share of the rate; empty: equal shares
    flag_shares: dict[str, dict[str, float]] = msgspec.field(default_factory=dict)  # venue -> flags -> share
    rules: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)  # venue (or `all`) -> limits in place of the real ones
    history_trades: int = 2_000_000  # kept for REST, by venue; 40 bytes each
    lag_s: float = 0.0  # REST history and candles leave out the trades of the newest seconds
    backlog_bytes: int = 8_388_608  # a client further behind is cut off (in mode burst it is waited for)
    send_buffer_bytes: int = 0  # of the kernel, for each connection; 0: the kernel's default
    lap_trades: int = 200_000  # frames made in advance, all connections together
    listings: list[ListingOptions] = msgspec.field(default_factory=list)
    faults: list[FaultOptions] = msgspec.field(default_factory=list)
    tape: TapeOptions = msgspec.field(default_factory=TapeOptions)
    plugin_folder: str = ""
