"""A small venue without a network: a clock to be moved, a stream with a limited kernel, a ground truth that is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.sim.board_dialect import BoardDialect, Post
from pumpwatch.sim.client_connection import ClientConnection, VenueContext
from pumpwatch.sim.client_limits import AddressLimits
from pumpwatch.sim.dialect import (
    ClientSession,
    Coin,
    Dialect,
    History,
    Message,
    Meter,
    Past,
    Reply,
    Rules,
    Stamp,
    TapeTrade,
)
from pumpwatch.sim.ground_truth import Records, TruthWriter
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.http_messages import HttpCall, HttpReply
from pumpwatch.sim.market import SimulatedMarket
from pumpwatch.sim.rows import Rows, SymbolSpec, SymbolTable
from pumpwatch.sim.venue import SimVenue
from pumpwatch.sim.wire import ClientRequest

START_NS = 1_700_000_000 * NS_PER_S
NO_RULES = Rules(messages_per_second=0, messages_close=(1008, "too many messages"), streams_per_connection=0,
                      connects_per_5_minutes=0, ping_every_s=0, pong_within_s=0, client_silence_s=0, connection_age_s=0,
                      requests_per_minute=0)
FIRST_ID = 1_000_000  # of seven digits, as the stamp below has
FRAME = b'{"s":"%s","t":%07d,"T":%013d}'


class FakeStream:
    """A stream whose kernel takes `room` more bytes; a TLS record has 10 bytes of overhead."""

    def __init__(self, peer: str = "10.0.0.1", room: int = 1 << 30) -> None:
        self.peer, self.room = peer, room
        self.made = self.handed = 0
        self.closed = self.aborted = self.frozen = False
        self.written: list[bytes] = []
        self.on_progress: Any = None

    @property
    def queued(self) -> int:
        return self.made - self.handed

    def write(self, data: Any) -> int:
        self.written.append(bytes(data))
        self.made += len(data) + 10
        return len(data)

    def flush(self) -> None:
        taken = min(self.room, self.made - self.handed)
        self.handed, self.room = self.handed + taken, self.room - taken

    def give_room(self, room: int) -> None:
        """Let the kernel take more, as it does when the client reads."""
        self.room += room
        self.flush()
        self.on_progress()

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False

    def close(self, *, abort: bool = False) -> None:
        self.closed, self.aborted = True, abort


class KeptTruth(TruthWriter):
    """A ground truth whose records and events can be looked at."""

    def __init__(self) -> None:
        super().__init__(None, [], {})
        self.records: list[Records] = []
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def add(self, records: Records) -> None:
        super().add(records)
        if len(records):
            self.records.append(records.copy())

    def event(self, kind: str, **facts: Any) -> None:
        self.events.append((kind, facts))

    def ids(self, state: int) -> list[int]:
        """Return the trade ids written with a state, in order of writing."""
        return [number for part in self.records for number in part["trade_id"][part["state"] == state].tolist()]


def symbols(coins: Sequence[Coin]) -> list[SymbolSpec]:
    return [SymbolSpec(symbol=coin.name, coin=coin.name, base=coin.name, quote="USDT", price=coin.price, price_decimals=2,
                       quantity_decimals=3) for coin in coins]


def receive(session: ClientSession, message: Message, rules: Rules, history: History) -> Reply:
    """Subscribe to the names in a message; `past NAME` sends earlier trades as well, `bye` closes."""
    words = str(message).split()
    if words == ["bye"]:
        return Reply(["so long"], (4000, "as you wish"))
    names = [word for word in words if word in history.table.index]
    session.topics.update({name: name for name in names})
    past = [history.recent(history.table.index[name], 5) for name in names] if words[0] == "past" else []
    return Reply(["ok", *(Past(b"".join(encode("plain", rows)), rows) for rows in past if len(rows))])


def encode(form: str, rows: Rows) -> list[bytes]:
    return [FRAME % (symbol.encode(), number, at // 1_000_000) for symbol, number, at in
            zip(rows.symbols(), rows.trade_id.tolist(), rows.timestamp.tolist(), strict=True)]


def rest(call: HttpCall, rules: Rules, history: History, meter: Meter) -> HttpReply:
    used = meter.spend(1)
    return HttpReply(429 if used > rules.requests > 0 else 200, json.dumps(history.table.symbols).encode())


def read_tape(raw: bytes) -> list[TapeTrade]:
    frame = json.loads(raw)
    return [TapeTrade(symbol=frame["s"], trade_id=frame["t"] + number, timestamp_ns=frame["T"] * 1_000_000, price=price,
                      quantity="1.5", sell=False) for number, price in enumerate(frame.get("p", ()))]


DIALECT = Dialect(
    exchange="fake", market_type="spot", ws_path="/ws", rest_path="/rest", rules=NO_RULES, first_id=FIRST_ID,
    timestamp_unit_ns=1_000_000, flag_shares={}, trades_per_frame=1, binary=False,
    stamps=(Stamp(marker=b'"t":', what="id", digits=7), Stamp(marker=b'"T":', what="time", digits=13, unit_ns=1_000_000)),
    symbols=symbols, open=lambda session, rules: Reply(), receive=receive, encode=encode, rest=rest,
    maintenance=lambda form, now_ns: b"closing", read_tape=read_tape, reframe=lambda form, raw: b"again " + raw)
BOARD = BoardDialect(
    name="board", url_path="/notices", requests_per_second=0, burst=1, category="trade",
    seed=lambda now_ns, coins: [Post(number=5, uuid="5", title="old", category="trade", first_listed_at_ns=1, listed_at_ns=1)],
    title=lambda coin, markets, listed: f"{coin.name} on {', '.join(markets)}{' as well' if listed else ''}",
    body=lambda coin, markets, at_ns: f"{coin.name} trades at {at_ns}",
    rest=lambda call, board: HttpReply(200, json.dumps([post.title for post in board.ordered()]).encode()))
COINS = (Coin("AAA", 10.0), Coin("BBB", 20.0))
TABLE = SymbolTable(symbols(COINS))


def context_of(clock: FakeClock, dialect: Dialect = DIALECT, rules: Rules = NO_RULES) -> VenueContext:
    return VenueContext(0, dialect, rules, TABLE, TradeHistory(TABLE, 1000), KeptTruth(), clock)


def venue_of(clock: FakeClock, dialect: Dialect = DIALECT, rules: Rules = NO_RULES,
             backlog_bytes: int = 1 << 20) -> SimVenue:
    market = SimulatedMarket(TABLE, [1, 0], first_id=FIRST_ID, unit_ns=1_000_000, flag_shares={})
    return SimVenue(context_of(clock, dialect, rules), market, AddressLimits(clock), backlog_bytes=backlog_bytes)


def truth_of(venue: SimVenue) -> KeptTruth:
    assert isinstance(venue.truth, KeptTruth)
    return venue.truth


def upgrade_request(path: str = "/ws") -> ClientRequest:
    return ClientRequest("GET", path, {"upgrade": "websocket", "sec-websocket-version": "13",
                                       "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}, b"")


def connect(venue: SimVenue, *names: str, stream: FakeStream | None = None,
            number: int = 1) -> tuple[ClientConnection, FakeStream]:
    """Connect a client that subscribes to these symbols; return the connection and its stream, nothing written yet."""
    stream = stream or FakeStream()
    connection = venue.connect(stream, upgrade_request(), number)  # type: ignore[arg-type]
    assert isinstance(connection, ClientConnection)
    if names:
        connection.session.topics.update({name: name for name in names})
        venue.forget_routes()
    stream.written.clear()
    return connection, stream


def rows_of(*ids: int, symbol: int = 0, price: int = 1000) -> Rows:
    """Return trades of one symbol with these ids."""
    count = len(ids)
    return Rows(TABLE, np.full(count, symbol, np.int32), np.array(ids, np.int64), np.full(count, START_NS), np.full(count, price),
                np.full(count, 1500), np.zeros(count, np.bool_), np.zeros(count, np.uint8))
