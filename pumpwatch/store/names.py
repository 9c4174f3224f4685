"""Read the instruments that a journal's files name, so that coins of earlier runs are found.

Each file has the names of its instruments. Most files have the same names, so only files with new names are read in full.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Instrument
from pumpwatch.store.segment import Segment
from pumpwatch.store.sqlite import DAMAGED, check_of, connect, is_temporary

MOST_INSTRUMENTS = 100_000  # numbers that are tried if the table of names is damaged
Instruments = dict[int, tuple[tuple[str, str], Instrument]]  # a file's number -> venue and instrument
OnDamage = Callable[[Path, object], None]
UNREADABLE: tuple[type[Exception], ...] = (*DAMAGED, AttributeError)  # AttributeError: NULL in place of a text
_NUMBERS = "SELECT group_concat(id) FROM instruments"
_NAMES = "SELECT group_concat(exchange || char(9) || market_type || char(9) || symbol, char(10)) FROM instruments"


def read_instruments(connection: sqlite3.Connection, numbers: Sequence[int] | None = None) -> Instruments:
    """Return venue and instrument by the file's own number (all, or these numbers), without unreadable ones.

    Raises sqlite3.Error if the file is locked.
    """
    some = "" if numbers is None else f" WHERE id IN ({', '.join(map(str, numbers))})"
    try:
        rows = connection.execute(f"SELECT * FROM instruments{some}").fetchall()
    except DAMAGED as error:
        if is_temporary(error):
            raise
        rows = _one_by_one(connection, range(MOST_INSTRUMENTS) if numbers is None else numbers)
    return {row[0]: ((row[1], row[2]), Instrument(symbol=row[3], base=row[4], quote=row[5], multiplier=row[6],
                                                  contract_size=row[7]))
            for row in rows if row[-1] == check_of(*row[:-1])}


def _one_by_one(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for number in numbers:
        try:
            row = connection.execute("SELECT * FROM instruments WHERE id = ?", (number,)).fetchone()
        except DAMAGED as error:
            if is_temporary(error):
                raise
        else:
            rows += [row] if row else []
    return rows


def load_names(segments: Iterable[Segment], catalogue: Catalogue, on_damage: OnDamage) -> None:
    """Add every instrument that the segments name to the catalogue.

    An instrument's facts come from the newest file that names it. Damaged names are reported to `on_damage`, and the readable
    names of that file are added. A locked file is left out; its names are loaded when it is read later. 72 files of 5,700 names
    each took 0.3 s if one run wrote them, and 0.9 s if each had its own run: a file's names are read as one text, and within
    a run a number means one instrument.
    """
    known: set[str] = set()
    numbers: dict[str, set[str]] = {}  # run -> the numbers that are known
    for segment in sorted(segments, key=lambda segment: segment.first_id, reverse=True):
        if segment.readable and not segment.locked:
            try:
                _load(segment, known, numbers.setdefault(segment.run, set()), catalogue, on_damage)
            except DAMAGED as error:
                if not is_temporary(error):
                    on_damage(segment.path, f"names: {error}")


def _load(segment: Segment, known: set[str], numbers: set[str], catalogue: Catalogue, on_damage: OnDamage) -> None:
    connection = connect(segment.path, read_only=True)
    try:
        held = set((connection.execute(_NUMBERS).fetchone()[0] or "").split(","))
        if held <= numbers or held == {""}:
            return
        names = set(connection.execute(_NAMES).fetchone()[0].split("\n"))
        numbers |= held
    except UNREADABLE as error:
        if is_temporary(error):
            raise
        names = {""}  # matches nothing that is known, so that every row is read
    finally:
        connection.close()
    if not names <= known:
        _read_all(segment, names, known, catalogue, on_damage)


def _read_all(segment: Segment, names: set[str], known: set[str], catalogue: Catalogue, on_damage: OnDamage) -> None:
    connection = connect(segment.path, read_only=True)
    try:
        found = read_instruments(connection).values()
    finally:
        connection.close()
    for venue, instrument in found:
        catalogue.add_if_new(venue, instrument)
        known.add("\t".join((*venue, instrument.symbol)))
    segment.venues |= {venue for venue, _ in found}
    if not names <= known:
        on_damage(segment.path, f"names: {len(names - known)} cannot be read")


def venues_in(path: Path) -> set[tuple[str, str]]:
    """Return the venues that a file names; an empty set if it is unreadable."""
    try:
        connection = connect(path, read_only=True)
        try:
            return set(connection.execute("SELECT DISTINCT exchange, market_type FROM instruments"))
        finally:
            connection.close()
    except DAMAGED:
        return set()


def stored_venues(paths: Iterable[Path]) -> tuple[int, list[tuple[str, str]]]:
    """Return since when trades are stored in a journal's files (ns, 0 if unknown), and their venues."""
    oldest_ns: list[int] = []
    venues: set[tuple[str, str]] = set()
    for path in paths:
        try:
            connection = connect(path, read_only=True)
            try:
                oldest_ns += [int(row[0]) for row in connection.execute(
                    "SELECT value FROM meta WHERE key = 'created_ns'")]
                venues |= {(str(row[0]), str(row[1])) for row in connection.execute(
                    "SELECT DISTINCT exchange, market_type FROM instruments")}
            finally:
                connection.close()
        except DAMAGED:
            continue
    return min(oldest_ns, default=0), sorted(venues)
