"""Validate everything that a listing source returns, before anything uses it.

A source is third-party code that reads a third-party board, so its rows may be anything: of a wrong type, endless, dated in the
year 9999, named `../../x`. A valid row has a coin of letters and digits, times between 2017 and an hour from now, and texts of
bounded length. An invalid row becomes a `RejectedRow` with its reason, and never affects another row. This module calls
third-party code, so it is one of the few places that catch every exception.
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from gevent import GreenletExit

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame, StorageError
from pumpwatch.hookspecs import AnySource, ListingSource, MarketSource, NoticeBody, NoticeSource, Pace, PushSource, Verdict
from pumpwatch.listing.title_grammar import MAX_TITLE
from pumpwatch.model import Listing, Notice
from pumpwatch.printable import printable
from pumpwatch.supervisor import guarded

T = TypeVar("T")

EARLIEST_NS = 1_483_228_800 * NS_PER_S  # 2017-01-01: no board is older
AHEAD_NS = 3600 * NS_PER_S  # tolerance for a board's clock, and for a notice dated with its planned time
LATEST_NS = 4_102_444_800 * NS_PER_S  # 2100-01-01: a slow clock of ours cannot explain a later date
AHEAD = "is more than an hour ahead"
ROWS = 20_000  # in one list; real lists have 20 to 100
COINS = 1000  # in one notice
YOUNG_NS, JUDGED_AT_ONCE = 600 * NS_PER_S, 5  # recent notices that are judged together with the parsing of their list
ID_LENGTH, NAME_LENGTH, CATEGORY_LENGTH, URL_LENGTH = 100, 64, 200, 2000
NOTES, NOTE_LENGTH = 20, 200
BODY_LENGTH, RAW_LENGTH = 1_000_000, 20_000
REASON_LENGTH, SHOWN_BYTES = 400, 8000
KINDS = frozenset({"krw_listing", "non_krw_listing", "delisting", "warning", "maintenance", "event", "other"})

_COIN = re.compile(r"[A-Za-z0-9]{1,20}")
_EXCHANGE = re.compile(r"[a-z0-9_-]{1,32}")  # part of a folder's name
_END = object()
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 1000


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """An invalid row: the reason, which is the same on every look, and the row as bytes.

    notice_id: empty if it is invalid too. ahead: the row is dated so far ahead that our clock may be slow.
    """

    reason: str
    payload: bytes
    notice_id: str = ""
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class NoticeRows:
    """A validated list of notices. more: it has more than ROWS rows, and the rest was not read.

    verdicts: title -> verdict, of recent notices. They are judged together with the parsing, because each separate call of the
    source's code waits for its thread.
    """

    notices: list[Notice]
    rejected: list[RejectedRow]
    more: bool
    verdicts: Mapping[str, CheckedVerdict] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckedVerdict:
    """A validated verdict. coins: those that get a KRW market, without repetition."""

    kind: str
    coins: tuple[str, ...]
    needs_body: bool
    notes: tuple[str, ...]
    rejected: tuple[RejectedRow, ...]


def call(function: Callable[..., T], *arguments: Any) -> T:
    """Call a source's code and return its result. Turn any exception into a BadFrame with a bounded message."""
    try:
        return function(*arguments)
    except GreenletExit:
        raise
    except BaseException as error:  # SystemExit too: a source must not end the collector
        raise BadFrame(message_of(error)) from error


def message_of(error: BaseException) -> str:
    """Return an error's message as one line; its type if it has no printable message."""
    kind = "" if isinstance(error, BadFrame) else f"{type(error).__name__}: "
    try:
        return printable(f"{kind}{str(error).splitlines()[0]}", REASON_LENGTH)
    except BaseException:
        return kind or "no reason given"


def isolated(body: Callable[[], None], on_error: Callable[[Exception], None]) -> bool:
    """Run the work of one row or one window; return whether it succeeded.

    Any exception goes to `on_error`, and the caller continues: an unexpected error affects only the row or window that caused
    it. Only StorageError is raised, because a failing disk affects all of them.
    """
    storage_errors: list[StorageError] = []

    def caught(error: Exception) -> None:
        if isinstance(error, StorageError):
            storage_errors.append(error)
        else:
            on_error(error)

    succeeded = guarded(body, caught)
    if storage_errors:
        raise storage_errors[0]
    return succeeded


def check_source(source: AnySource) -> None:
    """Raise BadFrame if a source's facts are invalid."""
    given: Any = source
    _check_text("name", given.name, NAME_LENGTH, line=True)
    if given.exchange != "" and (type(given.exchange) is not str or not _EXCHANGE.fullmatch(given.exchange)):
        raise BadFrame("exchange is not 1 to 32 small letters, digits, `_` and `-`")
    if isinstance(given, PushSource):
        functions: dict[str, Any] = {"listen": given.listen, "parse": given.parse, "configured": given.configured}
        if given.verdict is not None or not given.board:
            functions["verdict"] = given.verdict
    else:
        _check_polled(given)
        functions = {"parse": given.parse}
        if not isinstance(given, MarketSource):
            functions["verdict"] = given.verdict
            bodies = {name: getattr(given, name) for name in ("body_url", "body_text", "read_body")}
            if set(bodies.values()) != {None}:
                functions |= bodies
    if not isinstance(given, MarketSource):
        _check_text("drill_title", given.drill_title, CATEGORY_LENGTH)
    if not all(map(callable, functions.values())):
        raise BadFrame(f"{' and '.join(functions)} are not all functions")


def _check_polled(given: Any) -> None:
    for url in (given.url, *call(tuple, given.fallback_urls)):
        _check_text("an address", url, URL_LENGTH, line=True)
    if not isinstance(given.headers, Mapping) or any(type(text) is not str for pair in given.headers.items() for text in pair):
        raise BadFrame("headers is not a mapping of text to text")
    if not _is_seconds(given.interval_s):
        raise BadFrame("interval_s is not a positive number of seconds")
    pace = given.pace
    if pace is not None and not (type(pace) is Pace and _is_seconds(pace.night_s) and _is_seconds(pace.quick_s)
                                 and type(pace.mark_min) is int and pace.mark_min > 0):
        raise BadFrame("pace is not a Pace of positive seconds")


def _is_seconds(given: object) -> bool:
    return type(given) in (int, float) and 0 < given < float("inf")  # type: ignore[operator]


def checked_rows(source: NoticeSource, body: bytes, now_ns: int) -> NoticeRows:
    """Parse a list with the source's code; return its valid and rejected rows.

    Raises BadFrame if it is not a list of notices: the source rejects it, or every row is invalid.
    """
    notices: list[Notice] = []
    rejected: list[RejectedRow] = []
    more = False
    try:
        for given in items(call(source.parse, body)):
            if len(notices) + len(rejected) >= ROWS:
                more = True
                break
            try:
                notices.append(checked_notice(given, source.name, now_ns))
            except BadFrame as error:
                rejected.append(_rejected(given, error.message, now_ns))
    except BadFrame as error:
        if not notices and not rejected:
            raise
        rejected.append(RejectedRow(f"the list ends in an error: {error.message}", b""))
    if rejected and not notices:
        raise BadFrame(f"all {len(rejected)} rows are invalid, the first: {rejected[0].reason}")
    return NoticeRows(notices, rejected, more, _young_verdicts(source, notices, now_ns))


def _young_verdicts(source: NoticeSource, notices: Sequence[Notice], now_ns: int) -> dict[str, CheckedVerdict]:
    """Return the verdicts on the first recent notices; invalid ones are left out, and raise when they are judged again."""
    young = islice((notice for notice in notices if not notice.coins and now_ns - notice.published_at_ns <= YOUNG_NS),
                   JUDGED_AT_ONCE)
    verdicts: dict[str, CheckedVerdict] = {}
    for notice in young:
        with suppress(BadFrame):
            verdicts[notice.title] = checked_verdict(source, notice)
    return verdicts


def _rejected(given: object, reason: str, now_ns: int) -> RejectedRow:
    """Return a rejected row, with its id if that is valid."""
    if type(given) is not Notice:
        return RejectedRow(reason, shown(given))
    notice_id = given.notice_id
    try:
        _check_text("notice_id", notice_id, ID_LENGTH, line=True)
    except BadFrame:
        notice_id = ""
    ahead = any(time_problem(at_ns, now_ns) == AHEAD and at_ns < LATEST_NS
                for at_ns in (given.published_at_ns, given.updated_at_ns))
    return RejectedRow(reason, shown(given), notice_id, ahead)


def checked_notice(given: object, source: str, now_ns: int) -> Notice:
    """Return a valid notice with the name of its source. Raises BadFrame with the reason if it is invalid."""
    if isinstance(given, BadFrame):  # a row that the source could not read
        raise BadFrame(message_of(given))
    if type(given) is not Notice:
        raise BadFrame(f"a row is a {type(given).__name__}, not a Notice")
    _check_text("notice_id", given.notice_id, ID_LENGTH, line=True)
    _check_text("title", given.title, MAX_TITLE)
    _check_text("category", given.category, CATEGORY_LENGTH)
    if given.url != "":
        _check_text("url", given.url, URL_LENGTH, line=True)
    _check_time("published_at_ns", given.published_at_ns, now_ns)
    _check_time("updated_at_ns", given.updated_at_ns, now_ns)
    if type(given.coins) is not tuple or len(given.coins) > COINS:
        raise BadFrame(f"coins is not a tuple of at most {COINS}")
    _check_text("body", given.body, BODY_LENGTH)
    _check_text("raw", given.raw, BODY_LENGTH)
    return dataclasses.replace(given, source=source, raw=given.raw[:RAW_LENGTH])


def checked_verdict(source: NoticeSource, notice: Notice) -> CheckedVerdict:
    """Judge a notice's title with the source's code, unless the notice lists its coins.

    Raises BadFrame for an invalid verdict; invalid coins go to `rejected`.
    """
    if notice.coins:
        coins, rejected = _coins(notice.coins, "a notice's coins")
        return CheckedVerdict("krw_listing", coins, False, (), rejected)
    if source.verdict is None:
        raise BadFrame("the source has no verdict")
    given = call(source.verdict, notice.title)
    if type(given) is not Verdict:
        raise BadFrame(f"a verdict is a {type(given).__name__}, not a Verdict")
    if type(given.kind) is not str or given.kind not in KINDS:
        raise BadFrame("a verdict is of an unknown kind")
    symbols: Any = given.symbols
    if isinstance(symbols, str | bytes):
        raise BadFrame("a verdict's symbols are one text, not a sequence")
    coins, rejected = _coins(symbols, "a verdict's symbols")
    return CheckedVerdict(given.kind, coins, given.needs_body is True, _notes(given.notes), rejected)


def _coins(symbols: Any, what: str) -> tuple[tuple[str, ...], tuple[RejectedRow, ...]]:
    """Return the valid coins without repetition, and the rejected ones. Raises BadFrame if there are too many."""
    coins: dict[str, None] = {}
    rejected: list[RejectedRow] = []
    for number, symbol in enumerate(items(symbols)):
        if number >= COINS:
            raise BadFrame(f"{what} are more than {COINS}")
        try:
            coins[checked_coin(symbol)] = None
        except BadFrame as error:
            rejected.append(RejectedRow(error.message, shown(symbol)))
    return tuple(coins), tuple(rejected)


def checked_body(board: ListingSource, text: str, published_at_ns: int) -> tuple[
        dict[str, tuple[str, ...]], dict[str, int], list[RejectedRow]]:
    """Read a notice's body with the board's code; return markets by coin, starts of trading by coin (ns), and rejected coins.

    Raises BadFrame if it is not a body, or names no valid coin.
    """
    _check_text("a body", text, BODY_LENGTH)
    given = call(board.read_body, text, published_at_ns) if board.read_body is not None else None
    if type(given) is not NoticeBody or not isinstance(given.markets, Mapping) or not isinstance(given.starts_ns, Mapping):
        raise BadFrame(f"read_body returns a {type(given).__name__}, not a NoticeBody")
    coins: dict[str, tuple[str, ...]] = {}
    starts_ns: dict[str, int] = {}
    rejected: list[RejectedRow] = []
    for symbol, markets in list(given.markets.items())[:COINS]:
        try:
            coin = checked_coin(symbol)
            coins[coin] = tuple(checked_coin(market) for market in items(markets))
            start_ns = given.starts_ns.get(symbol)
            if type(start_ns) is int and EARLIEST_NS < start_ns < LATEST_NS:
                starts_ns[coin] = start_ns
        except BadFrame as error:
            rejected.append(RejectedRow(error.message, shown(symbol)))
    if not coins:
        raise BadFrame("the body names no coin")
    return coins, starts_ns, rejected


def checked_coin(given: object) -> str:
    """Return a coin's name as archives and exchanges write it: 1 to 20 ASCII letters and digits, in capitals.

    Boards write tickers in capitals. A few coins have small letters in their name (stETH); no two coins differ by case only.
    """
    if type(given) is not str or not _COIN.fullmatch(given):
        raise BadFrame("not a coin: a ticker is 1 to 20 letters and digits")
    return given.upper()


def check_listing(listing: Listing, now_ns: int) -> None:
    """Raise BadFrame for an invalid listing, which a dropped file or an older version's ledger may contain."""
    if checked_coin(listing.symbol) != listing.symbol:
        raise BadFrame("a listing's coin is not in capitals")
    _check_text("source", listing.source, NAME_LENGTH, line=True)
    _check_text("notice_id", listing.notice_id, ID_LENGTH, line=True)
    _check_text("title", listing.title, MAX_TITLE)
    _check_time("announced_at_ns", listing.announced_at_ns, now_ns)
    _check_time("detected_at_ns", listing.detected_at_ns, now_ns)
    _check_time("triggered_at_ns", listing.triggered_at_ns, now_ns)


def time_problem(at_ns: object, now_ns: int) -> str:
    """Return why this cannot be the time of a notice; an empty string if it can."""
    if type(at_ns) is not int:
        return f"is a {type(at_ns).__name__}, not ns since 1970"
    if at_ns < EARLIEST_NS:
        return "is before 2017"
    return AHEAD if at_ns > now_ns + AHEAD_NS else ""


def shown(given: object) -> bytes:
    """Return any object as bytes for the quarantine, at most SHOWN_BYTES."""
    try:
        return call(_as_text, given).encode("utf-8", "replace")[:SHOWN_BYTES]
    except BadFrame:
        return f"a {type(given).__name__} that cannot be shown".encode("utf-8", "replace")[:SHOWN_BYTES]


def _as_text(given: object) -> str:
    if isinstance(given, BadFrame):
        return str(given)
    if type(given) is Notice:
        return repr({field.name: _repr.repr(getattr(given, field.name)) for field in dataclasses.fields(given)})
    return _repr.repr(given)


def items(given: Any) -> Iterator[object]:
    """Yield the items of a source's iterable. Raises BadFrame if it is not iterable, or iterating fails."""
    iterator = call(iter, given)
    while (item := call(next, iterator, _END)) is not _END:
        yield item


def _check_text(name: str, given: object, most: int, line: bool = False) -> None:
    if type(given) is not str:
        raise BadFrame(f"{name} is a {type(given).__name__}, not text")
    if len(given) > most:
        raise BadFrame(f"{name} is longer than {most} characters")
    if line and not (given and given.isprintable() and not given.isspace()):
        raise BadFrame(f"{name} is empty or not printable")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise BadFrame(f"{name} is not valid Unicode") from None


def _check_time(name: str, given: object, now_ns: int) -> None:
    if problem := time_problem(given, now_ns):
        raise BadFrame(f"{name} {problem}")


def _notes(given: Any) -> tuple[str, ...]:
    """Return the printable remarks. Nothing depends on remarks, so invalid ones are dropped without a record."""
    notes: list[str] = []
    if isinstance(given, str | bytes):
        return ()
    try:
        for note in items(given):
            if len(notes) >= NOTES:
                break
            if type(note) is str and note.isprintable():
                notes.append(note[:NOTE_LENGTH])
    except BadFrame:
        pass
    return tuple(notes)
