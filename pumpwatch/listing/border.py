"""The border: what a source gives is looked at here, once, before anything acts on it.

A source is somebody else's code that reads somebody else's board, so its rows may be anything: of another type, without end,
dated in the year 9999, named `../../x`. What passes has a coin of letters and digits, times between 2017 and an hour from
now, and texts of a bounded length; what does not is a `Bad` with its reason. One bad row or coin never costs another.
This module calls other people's code, so it is one of the few places that catch everything.
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gevent import GreenletExit

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame, StorageError
from pumpwatch.hookspecs import ListingSource, Verdict
from pumpwatch.listing.title_grammar import MAX_TITLE
from pumpwatch.model import Listing, Notice
from pumpwatch.printable import printable
from pumpwatch.supervisor import guarded

T = TypeVar("T")

EARLIEST_NS = 1_483_228_800 * NS_PER_S  # 2017-01-01: no board is older
AHEAD_NS = 3600 * NS_PER_S  # a board's clock, or a notice stamped with the time it is planned for
ROWS = 20_000  # of one list; real ones show 20 to 100
COINS = 1000  # of one notice
ID_LENGTH, NAME_LENGTH, CATEGORY_LENGTH, URL_LENGTH = 100, 64, 200, 2000
NOTES, NOTE_LENGTH = 20, 200
REASON_LENGTH, SHOWN_BYTES = 400, 8000
KINDS = frozenset({"krw_listing", "non_krw_listing", "delisting", "warning", "maintenance", "event", "other"})

_COIN = re.compile(r"[A-Za-z0-9]{1,20}")
_END = object()
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 1000


@dataclass(frozen=True, slots=True)
class Bad:
    """What did not pass: the reason, which is the same each time, and what it was."""

    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class NoticeRows:
    """A list of notices, checked. more: it has rows beyond the first ROWS, which were not read."""

    notices: list[Notice]
    bad: list[Bad]
    more: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, checked. coins: those that get a KRW market, each once."""

    kind: str
    coins: tuple[str, ...]
    needs_body: bool
    notes: tuple[str, ...]
    bad: tuple[Bad, ...]


def call(function: Callable[..., T], *arguments: Any) -> T:
    """Call a source's code and return its answer. Raises BadFrame, with a bounded message, whatever it raises."""
    try:
        return function(*arguments)
    except GreenletExit:
        raise
    except BaseException as error:  # SystemExit too: a source ends no collector
        raise BadFrame(_said(error)) from error


def _said(error: BaseException) -> str:
    """Return what an error says, on a line; of one that cannot be put into words its name."""
    kind = "" if isinstance(error, BadFrame) else f"{type(error).__name__}: "
    try:
        return printable(f"{kind}{str(error).splitlines()[0]}", REASON_LENGTH)
    except BaseException:
        return kind or "it gives no reason"


def alone(body: Callable[[], None], on_error: Callable[[Exception], None]) -> bool:
    """Run what belongs to one row or one window; return whether it went well. The one guard of the listing stage.

    What it raises goes to `on_error`, and whatever comes after it goes on: an error nobody thought of costs the row or
    the window that caused it. Only StorageError is raised, because it concerns all of them: the disk refuses.
    """
    refused: list[StorageError] = []

    def caught(error: Exception) -> None:
        if isinstance(error, StorageError):
            refused.append(error)
        else:
            on_error(error)

    done = guarded(body, caught)
    if refused:
        raise refused[0]
    return done


def check_source(source: ListingSource) -> None:
    """Raise BadFrame where a source cannot be asked: its facts are not what they should be."""
    given: Any = source
    _text("name", given.name, NAME_LENGTH, line=True)
    for url in (given.url, *call(tuple, given.fallback_urls)):
        _text("an address", url, URL_LENGTH, line=True)
    if not isinstance(given.headers, Mapping) or any(type(one) is not str for pair in given.headers.items() for one in pair):
        raise BadFrame("headers is not a table of texts")
    if type(given.interval_s) not in (int, float) or not 0 < given.interval_s < float("inf"):
        raise BadFrame("interval_s is not a number of seconds")
    if not callable(given.parse) or not callable(given.verdict):
        raise BadFrame("parse and verdict are not both functions")


def rows_of(source: ListingSource, body: bytes, now_ns: int) -> NoticeRows:
    """Have a source read a list and return what passes of it.

    Raises BadFrame where it is no list of notices: when the source says so, or when no row of it passes.
    """
    notices: list[Notice] = []
    bad: list[Bad] = []
    more = False
    try:
        for given in _each(call(source.parse, body)):
            if len(notices) + len(bad) >= ROWS:
                more = True
                break
            try:
                notices.append(notice_of(given, source.name, now_ns))
            except BadFrame as error:
                bad.append(Bad(error.message, shown(given)))
    except BadFrame as error:
        if not notices and not bad:
            raise
        bad.append(Bad(f"its list ends in an error: {error.message}", b""))
    if bad and not notices:
        raise BadFrame(f"none of its {len(bad)} rows can be used, the first: {bad[0].reason}")
    return NoticeRows(notices, bad, more)


def notice_of(given: object, source: str, now_ns: int) -> Notice:
    """Return a notice that passes, under the name of its source. Raises BadFrame with the reason."""
    if isinstance(given, BadFrame):  # so a source names a row that it cannot read
        raise BadFrame(_said(given))
    if type(given) is not Notice:
        raise BadFrame(f"a row is a {type(given).__name__}, not a Notice")
    _text("notice_id", given.notice_id, ID_LENGTH, line=True)
    _text("title", given.title, MAX_TITLE)
    _text("category", given.category, CATEGORY_LENGTH)
    if given.url != "":
        _text("url", given.url, URL_LENGTH, line=True)
    _time("published_at_ns", given.published_at_ns, now_ns)
    _time("updated_at_ns", given.updated_at_ns, now_ns)
    return dataclasses.replace(given, source=source)


def verdict_of(source: ListingSource, title: str) -> Judged:
    """Have a source judge a title. Raises BadFrame where it gives no verdict; a coin that does not pass is in `bad`."""
    given = call(source.verdict, title)
    if type(given) is not Verdict:
        raise BadFrame(f"a verdict is a {type(given).__name__}, not a Verdict")
    if type(given.kind) is not str or given.kind not in KINDS:
        raise BadFrame("a verdict is of no known kind")
    symbols: Any = given.symbols
    if isinstance(symbols, str | bytes):
        raise BadFrame("a verdict's symbols are one text, not several")
    coins: dict[str, None] = {}
    bad: list[Bad] = []
    for number, symbol in enumerate(_each(symbols)):
        if number >= COINS:
            raise BadFrame(f"a verdict with more than {COINS} symbols")
        try:
            coins[coin_of(symbol)] = None
        except BadFrame as error:
            bad.append(Bad(error.message, shown(symbol)))
    return Judged(given.kind, tuple(coins), given.needs_body is True, _notes(given.notes), tuple(bad))


def coin_of(given: object) -> str:
    """Return a coin's name as archives and exchanges write it: 1 to 20 ASCII letters and digits, in capitals.

    Boards write tickers in capitals; a few coins have small letters in their own name (stETH), and no two differ by that.
    """
    if type(given) is not str or not _COIN.fullmatch(given):
        raise BadFrame("not a coin: 1 to 20 letters and digits are one")
    return given.upper()


def check_listing(listing: Listing, now_ns: int) -> None:
    """Raise BadFrame where a listing could not have passed the border: one from a file, or of an older version's ledger."""
    if coin_of(listing.symbol) != listing.symbol:
        raise BadFrame("a listing's coin is not in capitals")
    _text("source", listing.source, NAME_LENGTH, line=True)
    _text("notice_id", listing.notice_id, ID_LENGTH, line=True)
    _text("title", listing.title, MAX_TITLE)
    _time("announced_at_ns", listing.announced_at_ns, now_ns)
    _time("detected_at_ns", listing.detected_at_ns, now_ns)
    _time("triggered_at_ns", listing.triggered_at_ns, now_ns)


def time_problem(at_ns: object, now_ns: int) -> str:
    """Return why this is not the time of a notice, an empty string where it is."""
    if type(at_ns) is not int:
        return f"is a {type(at_ns).__name__}, not ns since 1970"
    if at_ns < EARLIEST_NS:
        return "lies before 2017"
    return "lies more than an hour ahead" if at_ns > now_ns + AHEAD_NS else ""


def shown(given: object) -> bytes:
    """Return what was given as bytes for a record, at most some thousand."""
    try:
        return call(_words, given).encode("utf-8", "replace")[:SHOWN_BYTES]
    except BadFrame:
        return f"a {type(given).__name__} that cannot be shown".encode("utf-8", "replace")[:SHOWN_BYTES]


def _words(given: object) -> str:
    if isinstance(given, BadFrame):
        return str(given)
    if type(given) is Notice:
        return repr({field.name: _repr.repr(getattr(given, field.name)) for field in dataclasses.fields(given)})
    return _repr.repr(given)


def _each(given: Any) -> Iterator[object]:
    """Yield what an iterable of a source's gives. Raises BadFrame where it is none, or fails on the way."""
    rows = call(iter, given)
    while (one := call(next, rows, _END)) is not _END:
        yield one


def _text(name: str, given: object, most: int, line: bool = False) -> None:
    if type(given) is not str:
        raise BadFrame(f"{name} is a {type(given).__name__}, not text")
    if len(given) > most:
        raise BadFrame(f"{name} is longer than {most} characters")
    if line and not (given and given.isprintable() and not given.isspace()):
        raise BadFrame(f"{name} is empty, or holds what cannot be printed")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise BadFrame(f"{name} holds half a character") from None


def _time(name: str, given: object, now_ns: int) -> None:
    if problem := time_problem(given, now_ns):
        raise BadFrame(f"{name} {problem}")


def _notes(given: Any) -> tuple[str, ...]:
    """Return the remarks that can be shown; they decide nothing, so the others are left out."""
    notes: list[str] = []
    if isinstance(given, str | bytes):
        return ()
    try:
        for one in _each(given):
            if len(notes) >= NOTES:
                break
            if type(one) is str and one.isprintable():
                notes.append(one[:NOTE_LENGTH])
    except BadFrame:
        pass
    return tuple(notes)
