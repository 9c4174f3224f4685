"""What a simulation can be told."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch.config import Section


class TapeOptions(Section):
    """Recorded frames to replay instead of generated markets."""

    files: dict[str, list[str]] = msgspec.field(default_factory=dict)  # venue -> JSON lines with `raw`
    speed: float = 1.0  # of the recording's own pace
    rate: float = 0.0  # frames a second and venue instead of that pace


class ListingOptions(Section):
    """A listing that is published at a planned moment, and the jump of its coin."""

    at_s: float  # after the start of trading
    coin: str
    board: str = ""  # the first there is
    markets: list[str] = msgspec.field(default_factory=lambda: ["KRW", "BTC", "USDT"])
    listed: bool = False  # the coin already has other markets there: the other wording
    title: str = ""  # instead of the board's own wording
    height: float = 0.25
    volume: float = 40.0


class FaultOptions(Section):
    """A fault: when, which, where. See sim.faults for the kinds."""

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
    frames: list[str] = msgspec.field(default_factory=list)  # of `malformed`: these, as they are
    symbol: str = ""  # in the venue's own spelling


class SimOptions(Section):
    """Everything."""

    venues: list[str] = msgspec.field(default_factory=list)  # of the plugins' dialects; empty: all
    symbols: int | list[str] = 20  # how many coins trade on every venue, or which
    roster: int = 0  # instead: how many symbols trade on all venues together, spread as on the real ones
    rate: float = 1000.0  # trades a second, all venues together, before listings
    seed: int = 1
    seconds: float = 0.0  # of trading, then it pauses; 0: until it is stopped
    mode: str = "live"  # live, burst (frames made beforehand), paced (the same, a frame at a time), tape
    paused: bool = False  # trading waits for the command `resume`
    folder: str = ""  # certificates and ground truth; empty: one that `main` removes at the end
    truth: bool = True
    host: str = "127.0.0.1"
    ports: dict[str, int] = msgspec.field(default_factory=dict)  # by venue, board or `control`; else any
    tick_ms: float = 5.0
    shares: dict[str, float] = msgspec.field(default_factory=dict)  # of the rate, by venue; equal where not given
    flag_shares: dict[str, dict[str, float]] = msgspec.field(default_factory=dict)  # venue -> flags -> share
    rules: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)  # venue -> what is not as real
    history_trades: int = 2_000_000  # kept for REST, by venue
    backlog_bytes: int = 8_388_608  # a client further behind is cut off (in bursts it is waited for)
    send_buffer_bytes: int = 0  # of the kernel, for each connection; 0: its own choice
    lap_trades: int = 200_000  # frames made beforehand, all connections together
    listings: list[ListingOptions] = msgspec.field(default_factory=list)
    faults: list[FaultOptions] = msgspec.field(default_factory=list)
    tape: TapeOptions = msgspec.field(default_factory=TapeOptions)
    plugin_folder: str = ""
