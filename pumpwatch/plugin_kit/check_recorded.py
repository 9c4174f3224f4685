"""Bodies that a venue really answered, given by `--instruments` and `--history`: read whole, and compared with the frames.

A simulator answers what its author believes; only the venue's own words show a misspelt field, an inverted side or a page
that is shorter than asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumpwatch.errors import UsageError
from pumpwatch.model import Columns, HistoryQuery, IdKind, Venue
from pumpwatch.plugin_kit.check_frames import columns_of
from pumpwatch.plugin_kit.check_order import check_order, want_contiguous
from pumpwatch.plugin_kit.check_responses import history_of, want_plausible
from pumpwatch.plugin_kit.mutations import mutated_bodies
from pumpwatch.plugin_kit.results import Check, Problems, many, short
from pumpwatch.plugin_kit.samples import HistoryBody, Samples, Stage
from pumpwatch.plugin_kit.sandbox import CallResult, attempt

NAMED = re.compile(r"history[.-](?P<symbol>.+)\.json")
USUAL_PAGES = (10, 20, 25, 30, 40, 50, 60, 100, 150, 200, 250, 300, 400, 500, 600, 1000, 1500, 2000)  # rows venues stop at
FIELDS = ("price", "quantity", "sell", "trade_id", "timestamp")


def read_body(file: Path) -> bytes:
    """Return a file's content. Raises UsageError where it cannot be read or is empty."""
    try:
        body = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    if not body.strip():
        raise UsageError(f"{file} is empty", "give a body as the venue answered it")
    return body


def history_body(given: str) -> HistoryBody:
    """Read `--history`: FILE, or SYMBOL=FILE; a file `history.SYMBOL.json` names its symbol itself."""
    symbol, _, path = given.rpartition("=")
    if symbol and Path(given).exists():
        symbol, path = "", given
    named = NAMED.fullmatch(Path(path).name)
    return HistoryBody(symbol or (named["symbol"] if named else ""), read_body(Path(path)))


def check_recorded(venue: Venue, material: Samples) -> list[Check]:
    """Return a row for each kind of recorded body that there is, and one for the order and the ids of frames."""
    rows = [check_order(venue, material)] if material.trades else []
    rows += [_instruments(venue, material)] if material.instruments else []
    if material.stage is not None and material.trades and not material.histories and venue.history.rows_per_request:
        rows.append(_simulated_history(venue, material, material.stage))
    return rows + [_history(venue, one, material) for one in material.histories]


def _simulated_history(venue: Venue, material: Samples, stage: Stage) -> Check:
    """Compare the dialect's own history with its frames."""
    problems, same = Problems(venue.name, "history and stream agree"), 0
    live = trades_of_frames(venue, material.trades)
    number = int(stage.rows.symbol[-1])
    symbol, rows = stage.table.symbols[number], stage.rows.take(stage.rows.symbol == number)
    made = attempt(venue.history_request, HistoryQuery(symbol, int(rows.timestamp[0]), int(rows.timestamp[-1]) + 1))
    if made.value is not None:
        read = attempt(history_of, venue, stage.answer(made.value), symbol).value
        same = want_same(problems, venue, read, live.get(symbol, {})) if read else 0
    return problems.row(f"{many(same, 'trade')} in both")


def _instruments(venue: Venue, material: Samples) -> Check:
    problems = Problems(venue.name, "recorded instruments")
    listed = attempt(venue.parse_instruments, material.instruments)
    if listed.value is None:
        problems.want(False, f"the venue's own list is not read: {listed.said()}")
        return problems.row("")
    want_plausible(problems, listed.value)
    problems.want(bool(listed.value), "the venue's own list gives no instrument: is a field's name or a status spelt wrong?")
    known = {one.symbol for one in listed.value}
    traded = {symbol for frame in material.trades for symbol in _symbols(venue, frame)}
    missing = sorted(traded - known)
    problems.want(not (traded and len(missing) == len(traded)), f"none of the frames' symbols is in the list: {missing[:3]}")
    problems.wish(not missing, f"{many(len(missing), 'symbol')} of the frames not in the list: {missing[:3]}")
    for mutant in mutated_bodies(material.instruments[0]):
        broken = attempt(venue.parse_instruments, [mutant, *material.instruments[1:]])
        problems.want(not broken.broke, f"it raises {broken.said()} on {short(mutant)}")
    return problems.row(f"{many(len(listed.value), 'instrument')} in {many(len(material.instruments), 'body', 'bodies')}")


def _symbols(venue: Venue, frame: bytes) -> set[str]:
    found: CallResult[dict[str, Any]] = attempt(columns_of, venue, b"[" + frame + b"]")
    return set(found.value["symbol"]) if found.value else set()


def _history(venue: Venue, recorded: HistoryBody, material: Samples) -> Check:
    problems = Problems(venue.name, f"recorded history{f' of {recorded.symbol}' if recorded.symbol else ''}")
    live = trades_of_frames(venue, material.trades)
    symbol = recorded.symbol or _symbol_of(venue, recorded.body, live)
    given = attempt(history_of, venue, recorded.body, symbol)
    if given.value is None:
        problems.want(False, f"the venue's own history is not read: {given.said()}")
        return problems.row("")
    columns, count = given.value, len(given.value.symbol)
    problems.want(count > 0, "the venue's own history gives no trade: is a field's name spelt wrong?")
    lengths = {name: len(getattr(columns, name)) for name in FIELDS}
    problems.want(set(lengths.values()) <= {count}, f"columns of different lengths: {lengths}, symbol {count}")
    if problems.failures:
        return problems.row("")
    _want_page(problems, venue, count)
    want_contiguous(problems, venue, symbol, {name: getattr(columns, name) for name in ("timestamp", "trade_id")})
    same = want_same(problems, venue, columns, live.get(symbol, {}))
    if material.trades:
        problems.wish(same > 0, "no trade is both in it and in the frames, so nothing could be compared: record both together")
    for mutant in mutated_bodies(recorded.body):
        broken = attempt(history_of, venue, mutant, symbol)
        problems.want(not broken.broke, f"it raises {broken.said()} on {short(mutant)}")
    return problems.row(f"{many(count, 'trade')} of {symbol or 'a symbol'}, {same} of them in the frames as well, and equal")


def _want_page(problems: Problems, venue: Venue, count: int) -> None:
    """Compare the rows of an answer with the most that the plugin says a request gives."""
    most = venue.history.rows_per_request
    problems.want(count <= most, f"an answer of {many(count, 'row')}, and rows_per_request is {most}")
    cut = count < most and count in USUAL_PAGES
    problems.want(not cut, f"an answer of {many(count, 'row')} looks like the venue's limit, and rows_per_request is {most}: a "
                           "page shorter than asked for is taken for the end of the history")
    problems.wish(cut or count >= most, f"an answer of {many(count, 'row')}, rows_per_request is {most}: record a busier symbol")


Key = tuple[Any, ...]
Traded = tuple[bool | None, float, float]


def trades_of_frames(venue: Venue, frames: Iterable[bytes]) -> dict[str, dict[Key, set[Traded]]]:
    """Return the trades of frames by symbol, and by what tells one from another: its id, or its time, price and quantity."""
    found: dict[str, dict[Key, set[Traded]]] = {}
    for frame in frames:
        columns = Columns()
        if attempt(venue.parse, b"[" + frame + b"]", columns).error is None:
            for symbol, key, traded in _rows(venue, columns):
                found.setdefault(symbol, {}).setdefault(key, set()).add(traded)
    return found


def _rows(venue: Venue, columns: Columns) -> list[tuple[str, Key, Traded]]:
    unit = max(1, venue.history.resolution_ns // venue.timestamp_unit_ns)
    rows = []
    for number, (symbol, at, price, quantity, sell, trade_id) in enumerate(zip(
            columns.symbol, columns.timestamp, columns.price, columns.quantity, columns.sell, columns.trade_id, strict=True)):
        if number in columns.void:
            continue
        key: Key = (at // unit, price, quantity) if venue.id_kind == IdKind.NONE else (trade_id,)
        rows.append((symbol, key, (sell, price, quantity)))
    return rows


def want_same(problems: Problems, venue: Venue, history: Columns, live: dict[Key, set[Traded]]) -> int:
    """Fail where the stream and the history disagree about a trade; return how many trades are in both."""
    shared = sides = values = 0
    example = ""
    for symbol, key, traded in _rows(venue, history):
        streamed = live.get(key)
        if streamed is None:
            continue
        shared += 1
        sides += traded[0] not in {one[0] for one in streamed}
        values += traded[1:] not in {one[1:] for one in streamed}
        if traded not in streamed and not example:
            example = f"{symbol} {key[0]}: stream {next(iter(streamed))}, history {traded}"
    problems.want(not sides, f"the side of {sides} of {many(shared, 'trade')} is another in the history than in the stream: "
                             f"is one of them the maker's? ({example})")
    problems.want(not values, f"price or quantity of {values} of {many(shared, 'trade')} is another in the history ({example})")
    return shared


def _symbol_of(venue: Venue, body: bytes, live: dict[str, dict[Key, set[Traded]]]) -> str:
    """Return the frames' symbol that a history shares most trades with; empty where it shares none."""
    shares: dict[str, int] = {}
    for symbol, trades in live.items():
        read = attempt(history_of, venue, body, symbol).value
        shares[symbol] = sum(key in trades for _, key, _ in _rows(venue, read)) if read else 0
    best = max(shares, key=lambda symbol: shares[symbol], default="")
    return best if shares.get(best) else next(iter(live), "")


@dataclass(slots=True)
class RecordedFrames:
    """What was recorded of a plugin's venues. Each takes what is its own, and of the rest what it can read.

    frames: as they came. instruments: the lists, each with its pages. histories: bodies of trade histories. of: what is known
    to be one venue's, by its name.
    """

    frames: Sequence[bytes] = ()
    instruments: Sequence[Sequence[bytes]] = ()
    histories: Sequence[HistoryBody] = ()
    of: dict[str, RecordedFrames] = field(default_factory=dict)

    def frames_of(self, venue: Venue, venues: Sequence[Venue]) -> list[bytes]:
        """Return its own frames, those that this venue can read, and those that none can."""
        own = self.of.get(venue.name)
        return [*(own.frames if own else ()), *(frame for frame in self.frames if _reads(venue, venues, _reads_frame, frame))]

    def instruments_of(self, venue: Venue, venues: Sequence[Venue]) -> Sequence[bytes]:
        """Return the pages of its own list, or else of one that this venue can read, or that none can."""
        own = self.of.get(venue.name)
        if own and own.instruments:
            return own.instruments[0]
        return next((pages for pages in self.instruments if _reads(venue, venues, _reads_list, pages)), ())

    def histories_of(self, venue: Venue, venues: Sequence[Venue]) -> dict[str, bytes]:
        """Return, by symbol, its own histories, those that this venue can read, and those that none can."""
        own = self.of.get(venue.name)
        read = [one for one in self.histories if _reads(venue, venues, _reads_history, one.body)]
        return {one.symbol: one.body for one in (*(own.histories if own else ()), *read)}


def _reads(venue: Venue, venues: Sequence[Venue], reads: Callable[[Venue, Any], bool], what: Any) -> bool:
    return reads(venue, what) or not any(reads(one, what) for one in venues)


def _reads_frame(venue: Venue, frame: bytes) -> bool:
    parsed = attempt(venue.parse, b"[" + frame + b"]", Columns())
    return parsed.error is None or attempt(venue.read_control, frame).value is not None


def _reads_list(venue: Venue, pages: Sequence[bytes]) -> bool:
    return bool(attempt(venue.parse_instruments, pages).value)


def _reads_history(venue: Venue, body: bytes) -> bool:
    read = attempt(history_of, venue, body, "").value
    return read is not None and bool(read.symbol)
