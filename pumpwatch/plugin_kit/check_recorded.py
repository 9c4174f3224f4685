"""Check recorded bodies (`--instruments`, `--history`): the plugin must read all of them, and they must agree with the frames.

A simulator answers as its author believes the venue does. Only recorded answers show a misspelt field, an inverted side, or a
page that is shorter than requested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumpwatch.errors import UsageError
from pumpwatch.model import Columns, IdKind
from pumpwatch.plugin_kit.check_frames import columns_of
from pumpwatch.plugin_kit.check_order import check_order, require_contiguous
from pumpwatch.plugin_kit.check_responses import history_of, require_plausible
from pumpwatch.plugin_kit.mutations import mutated_bodies
from pumpwatch.plugin_kit.results import Check, Problems, counted, short
from pumpwatch.plugin_kit.samples import HistoryBody, Samples, SimulatedVenue
from pumpwatch.plugin_kit.sandbox import CallResult, attempt
from pumpwatch.venue import HistoryQuery, Venue

NAMED = re.compile(r"history[.-](?P<symbol>.+)\.json")
USUAL_PAGES = (10, 20, 25, 30, 40, 50, 60, 100, 150, 200, 250, 300, 400, 500, 600, 1000, 1500, 2000)  # usual limits of rows
FIELDS = ("price", "quantity", "sell", "trade_id", "timestamp")


def read_body(file: Path) -> bytes:
    """Return a file's content. Raises UsageError if it cannot be read or is empty."""
    try:
        body = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    if not body.strip():
        raise UsageError(f"{file} is empty", "save an answer of the venue in it, unchanged")
    return body


def history_body(given: str) -> HistoryBody:
    """Read a value of `--history`: FILE or SYMBOL=FILE. A file called `history.SYMBOL.json` needs no symbol before it."""
    symbol, _, path = given.rpartition("=")
    if symbol and Path(given).exists():
        symbol, path = "", given
    named = NAMED.fullmatch(Path(path).name)
    return HistoryBody(symbol or (named["symbol"] if named else ""), read_body(Path(path)))


def check_recorded(venue: Venue, samples: Samples) -> list[Check]:
    """Return a row for the order and the ids of frames, and one for each recorded body."""
    rows = [check_order(venue, samples)] if samples.trades else []
    rows += [_instruments(venue, samples)] if samples.instruments else []
    if samples.simulated is not None and samples.trades and not samples.histories and venue.history.rows_per_request:
        rows.append(_simulated_history(venue, samples, samples.simulated))
    return rows + [_history(venue, recorded, samples) for recorded in samples.histories]


def _simulated_history(venue: Venue, samples: Samples, simulated: SimulatedVenue) -> Check:
    """Compare the dialect's own history with its frames."""
    problems, same = Problems(venue.name, "history and stream agree"), 0
    live = trades_of_frames(venue, samples.trades)
    number = int(simulated.rows.symbol[-1])
    symbol, rows = simulated.table.symbols[number], simulated.rows.take(simulated.rows.symbol == number)
    made = attempt(venue.history_request, HistoryQuery(symbol, int(rows.timestamp[0]), int(rows.timestamp[-1]) + 1))
    if made.value is not None:
        read = attempt(history_of, venue, simulated.answer(made.value), symbol).value
        same = require_same(problems, venue, read, live.get(symbol, {})) if read else 0
    return problems.row(f"{counted(same, 'trade')} in both")


def _instruments(venue: Venue, samples: Samples) -> Check:
    problems = Problems(venue.name, "recorded instruments")
    listed = attempt(venue.parse_instruments, samples.instruments)
    if listed.value is None:
        problems.must(False, f"parse_instruments rejects the recorded list: {listed.message()}")
        return problems.row("")
    require_plausible(problems, listed.value)
    problems.must(bool(listed.value), "the recorded list gives no instrument: is a field's name or a status misspelt?")
    known = {instrument.symbol for instrument in listed.value}
    traded = {symbol for frame in samples.trades for symbol in _symbols(venue, frame)}
    missing = sorted(traded - known)
    problems.must(not (traded and len(missing) == len(traded)), f"no symbol of the frames is in the list: {missing[:3]}")
    problems.should(not missing, f"{counted(len(missing), 'symbol')} of the frames are not in the list: {missing[:3]}")
    for mutant in mutated_bodies(samples.instruments[0]):
        broken = attempt(venue.parse_instruments, [mutant, *samples.instruments[1:]])
        problems.must(not broken.broke, f"it raises {broken.message()} on {short(mutant)}")
    return problems.row(f"{counted(len(listed.value), 'instrument')} in {counted(len(samples.instruments), 'body', 'bodies')}")


def _symbols(venue: Venue, frame: bytes) -> set[str]:
    found: CallResult[dict[str, Any]] = attempt(columns_of, venue, b"[" + frame + b"]")
    return set(found.value["symbol"]) if found.value else set()


def _history(venue: Venue, recorded: HistoryBody, samples: Samples) -> Check:
    problems = Problems(venue.name, f"recorded history{f' of {recorded.symbol}' if recorded.symbol else ''}")
    live = trades_of_frames(venue, samples.trades)
    symbol = recorded.symbol or _symbol_of(venue, recorded.body, live)
    given = attempt(history_of, venue, recorded.body, symbol)
    if given.value is None:
        problems.must(False, f"parse_history rejects the recorded history: {given.message()}")
        return problems.row("")
    columns, count = given.value, len(given.value.symbol)
    problems.must(count > 0, "the recorded history gives no trade: is a field's name misspelt?")
    lengths = {name: len(getattr(columns, name)) for name in FIELDS}
    problems.must(set(lengths.values()) <= {count}, f"the columns have different lengths: {lengths}, symbol {count}")
    if problems.failures:
        return problems.row("")
    _require_page(problems, venue, count)
    require_contiguous(problems, venue, symbol, {name: getattr(columns, name) for name in ("timestamp", "trade_id")})
    same = require_same(problems, venue, columns, live.get(symbol, {}))
    if samples.trades:
        problems.should(same > 0, "history and frames share no trade, so they could not be compared: record both together")
    for mutant in mutated_bodies(recorded.body):
        broken = attempt(history_of, venue, mutant, symbol)
        problems.must(not broken.broke, f"it raises {broken.message()} on {short(mutant)}")
    return problems.row(f"{counted(count, 'trade')} of {symbol or 'a symbol'}, {same} of them equal in the frames")


def _require_page(problems: Problems, venue: Venue, count: int) -> None:
    """Compare the number of rows in an answer with `rows_per_request`."""
    most, rows = venue.history.rows_per_request, counted(count, "row")
    problems.must(count <= most, f"the answer has {rows}, but rows_per_request is {most}")
    cut = count < most and count in USUAL_PAGES
    problems.must(not cut, f"an answer of {rows} looks like the venue's limit, but rows_per_request is {most}: a page shorter "
                           "than requested is taken for the end of the history")
    problems.should(cut or count >= most, f"the answer has {rows}, and rows_per_request is {most}: record a busier symbol")


Key = tuple[Any, ...]
Traded = tuple[bool | None, float, float]


def trades_of_frames(venue: Venue, frames: Iterable[bytes]) -> dict[str, dict[Key, set[Traded]]]:
    """Return the trades of frames by symbol and key: the trade id, or time, price and quantity if the venue has no ids."""
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


def require_same(problems: Problems, venue: Venue, history: Columns, live: dict[Key, set[Traded]]) -> int:
    """Fail if the stream and the history disagree about a trade; return the number of trades in both."""
    shared = sides = values = 0
    example = ""
    for symbol, key, traded in _rows(venue, history):
        streamed = live.get(key)
        if streamed is None:
            continue
        shared += 1
        sides += traded[0] not in {sell for sell, _, _ in streamed}
        values += traded[1:] not in {(price, quantity) for _, price, quantity in streamed}
        if traded not in streamed and not example:
            example = f"{symbol} {key[0]}: stream {next(iter(streamed))}, history {traded}"
    trades = counted(shared, "trade")
    problems.must(not sides, f"the side of {sides} of {trades} differs between history and stream: is one of them the maker's? "
                             f"({example})")
    problems.must(not values, f"price or quantity of {values} of {trades} differs between history and stream ({example})")
    return shared


def _symbol_of(venue: Venue, body: bytes, live: dict[str, dict[Key, set[Traded]]]) -> str:
    """Return the symbol whose trades in the frames a history shares most; the frames' first symbol if it shares none."""
    shares: dict[str, int] = {}
    for symbol, trades in live.items():
        read = attempt(history_of, venue, body, symbol).value
        shares[symbol] = sum(key in trades for _, key, _ in _rows(venue, read)) if read else 0
    best = max(shares, key=lambda symbol: shares[symbol], default="")
    return best if shares.get(best) else next(iter(live), "")


@dataclass(slots=True)
class RecordedFrames:
    """Recorded frames and bodies of a plugin's venues.

    frames: as received. instruments: symbol lists, each with its pages. histories: bodies of trade histories. by_venue: the
    recordings that are known to belong to one venue, by its name. Each venue uses its own recordings, and of the others those
    that it can read or that no venue of the plugin can read.
    """

    frames: Sequence[bytes] = ()
    instruments: Sequence[Sequence[bytes]] = ()
    histories: Sequence[HistoryBody] = ()
    by_venue: dict[str, RecordedFrames] = field(default_factory=dict)


    def frames_of(self, venue: Venue, venues: Sequence[Venue]) -> list[bytes]:
        """Return the venue's own frames, those that it can read, and those that no venue can."""
        own = self.by_venue.get(venue.name)
        return [*(own.frames if own else ()), *(frame for frame in self.frames if _is_for(venue, venues, _reads_frame, frame))]

    def instruments_of(self, venue: Venue, venues: Sequence[Venue]) -> Sequence[bytes]:
        """Return the pages of the venue's own list, else of a list that it can read or that no venue can."""
        own = self.by_venue.get(venue.name)
        if own and own.instruments:
            return own.instruments[0]
        return next((pages for pages in self.instruments if _is_for(venue, venues, _reads_list, pages)), ())

    def histories_of(self, venue: Venue, venues: Sequence[Venue]) -> dict[str, bytes]:
        """Return by symbol the venue's own histories, those that it can read, and those that no venue can."""
        own = self.by_venue.get(venue.name)
        read = [history for history in self.histories if _is_for(venue, venues, _reads_history, history.body)]
        return {history.symbol: history.body for history in (*(own.histories if own else ()), *read)}


def _is_for(venue: Venue, venues: Sequence[Venue], reads: Callable[[Venue, Any], bool], recorded: Any) -> bool:
    """Return whether the venue can read a recording, or none of the venues can."""
    return reads(venue, recorded) or not any(reads(other, recorded) for other in venues)


def _reads_frame(venue: Venue, frame: bytes) -> bool:
    parsed = attempt(venue.parse, b"[" + frame + b"]", Columns())
    return parsed.error is None or attempt(venue.read_control, frame).value is not None


def _reads_list(venue: Venue, pages: Sequence[bytes]) -> bool:
    return bool(attempt(venue.parse_instruments, pages).value)


def _reads_history(venue: Venue, body: bytes) -> bool:
    read = attempt(history_of, venue, body, "").value
    return read is not None and bool(read.symbol)
