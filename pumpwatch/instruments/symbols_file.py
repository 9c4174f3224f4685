"""`config/symbols.yaml`: what trades on each venue, and what is left out and why.

`pumpwatch init-symbols` writes it and a running collector keeps it up to date. It is for people to read, and for a
collector that starts while a venue's REST side is down: that one subscribes what the file knows until the list comes.
What is collected is chosen in the config (`symbols`, `excluded`), never here.

It is YAML in which every line is a key and a JSON value, so that 14,000 lines are read in the time that YAML takes for a
hundred; what a hand has changed is read as YAML. Processes that write it take turns, and each replaces only its own venues.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.instruments.lists import possible
from pumpwatch.model import Instrument

HEAD = """\
# What trades on each venue, and what is left out and why. Written by `pumpwatch init-symbols` and by the collector,
# which keeps it up to date and overwrites what is changed by hand. Choose what is collected in the config:
# exchanges.<name>.<market_type>.symbols (only these) and .excluded (all but these).
"""
NOT_CHOSEN = "not chosen in the config"
RENEWED_NS = 86_400 * NS_PER_S  # a venue's moment is written again when it is so old, though nothing else has changed
LINE = re.compile(r'(?P<indent> *)(?P<key>"(?:[^"\\]|\\.)*"|\w+):(?: (?P<value>.*))?')


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """An instrument, under its symbol; facts of 1 are left out of the file."""

    base: str
    quote: str
    multiplier: int = 1
    contract_size: float = 1.0
    price_divisor: float = 1.0


class SymbolsSection(msgspec.Struct, forbid_unknown_fields=True):
    """A venue, under its name."""

    listed_at: str
    symbols: dict[str, Entry]
    excluded: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class VenueSymbols:
    """A venue's symbols as they were listed at a moment. excluded: symbol -> reason."""

    listed_at_ns: int
    instruments: Sequence[Instrument]
    excluded: Mapping[str, str]

    def same_as(self, other: VenueSymbols | None) -> bool:
        """Whether the file would say the same, but for the moment."""
        return other is not None and self.excluded == other.excluded and (
            list(map(_facts, self.instruments)) == list(map(_facts, other.instruments)))


class SymbolsFile:
    """The file, and what is to be written into it. An empty path is no file: nothing is read or written.

    `write` may be called in another thread than the rest.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path) if path else None
        self._put: dict[str, VenueSymbols] = {}
        self._changed: set[str] = set()  # venues whose last state is not in the file yet
        self._known: dict[str, VenueSymbols] | None = None  # the file as it was read once, for those that begin with it
        self._refused: tuple[tuple[int, int], StorageError] | None = None  # size and time of a file that cannot be read, and why

    def known(self, venue: str) -> VenueSymbols | None:
        """Return what is known of a venue, from before or from the file. Raises StorageError where the file cannot be read."""
        if venue not in self._put and self._known is None and self.path:
            self._known = self._read(self.path)
        return self._put.get(venue) or (self._known or {}).get(venue)

    def put(self, venue: str, symbols: VenueSymbols) -> None:
        """Take a venue's symbols over; what is the same as before is not written again for a day."""
        before = self._put.get(venue)
        if before is None or not symbols.same_as(before) or symbols.listed_at_ns - before.listed_at_ns >= RENEWED_NS:
            self._put[venue] = symbols
            self._changed.add(venue)

    def text(self) -> str:
        """Return the file as it is to be, with the venues that were put."""
        return "".join(_lines(self._put))

    def write(self) -> None:
        """Bring the file up to date: what has changed, and what is not in it, as when it was removed. Raises StorageError."""
        if self.path is None or not self._put or (not self._changed and self.path.exists()):
            return
        changed, self._changed = self._changed, set()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _turn(self.path.parent) as folder:
                there = self._read(self.path)
                ours = {venue: one for venue, one in list(self._put.items()) if venue in changed or venue not in there}
                _replace(self.path, "".join(_lines(there | ours)), folder)
        except OSError as error:
            self._changed |= changed
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}",
                             "make its folder writable, or set `symbols_file` to another path, or to none (empty)") from error
        except StorageError:
            self._changed |= changed
            raise

    def _read(self, path: Path) -> dict[str, VenueSymbols]:
        """Read the file; one that was refused is not read again before it has changed."""
        try:
            stat = path.stat()
        except OSError:
            return read(path)
        if self._refused and self._refused[0] == (stat.st_size, stat.st_mtime_ns):
            raise self._refused[1]
        try:
            return read(path)
        except StorageError as error:
            self._refused = (stat.st_size, stat.st_mtime_ns), error
            raise


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[int]:
    """Keep other processes from writing into the folder as this does; yields its descriptor."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str, folder: int) -> None:
    """Replace a file at once and for good, or leave it as it was."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
        os.fsync(folder)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path) -> dict[str, VenueSymbols]:
    """Return what a symbols file says of each venue; nothing where there is none. Raises StorageError that names the place.

    What cannot be an instrument is passed over: its trades would be stored with quantities of nothing.
    """
    try:
        sections = _sections(path.read_text("utf-8"))
        return {venue: VenueSymbols(_moment(one.listed_at), list(filter(possible, (
            Instrument(symbol=symbol, base=each.base, quote=each.quote, multiplier=each.multiplier,
                       contract_size=each.contract_size, price_divisor=each.price_divisor)
            for symbol, each in one.symbols.items()))), one.excluded) for venue, one in sections.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:  # msgspec's ValidationError is a ValueError
        raise StorageError(f"{path}: not a symbols file: {' '.join(str(error).split())}",
                         "remove it; it is written anew") from error


def _sections(text: str) -> dict[str, SymbolsSection]:
    try:
        return msgspec.json.decode(_as_json(text), type=dict[str, SymbolsSection])
    except ValueError:
        raw = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return msgspec.convert(raw or {}, dict[str, SymbolsSection], strict=False)  # to YAML 1e-08 is a text


def _as_json(text: str) -> str:
    """Return what `_lines` wrote as JSON. Raises ValueError for a line of another kind; what it makes of one may be no JSON."""
    parts: list[str] = []
    depth, opened = 0, True
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        level = len(found["indent"]) // 2 if found else -1
        if found is None or level > depth:
            raise ValueError(line)
        parts.append("" if opened and level == depth else "}" * (depth - level) + ",")
        parts.append(found["key"] if found["key"].startswith('"') else f'"{found["key"]}"')
        parts.append(f":{found['value'] or '{'}")
        opened = not found["value"]
        depth = level + opened
    return "{" + "".join(parts) + "}" * (depth + 1)


def _moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * NS_PER_S


def _facts(one: Instrument) -> dict[str, Any]:
    facts: dict[str, Any] = {"symbol": one.symbol, "base": one.base, "quote": one.quote, "multiplier": one.multiplier}
    return facts | {name: value for name, value in (("contract_size", one.contract_size), ("price_divisor", one.price_divisor))
                    if value != 1}


def _lines(venues: Mapping[str, VenueSymbols]) -> Iterator[str]:
    yield HEAD
    for venue, listed in sorted(venues.items()):
        moment = datetime.fromtimestamp(listed.listed_at_ns / NS_PER_S, UTC)
        yield f"\n{_quoted(venue)}:\n  listed_at: \"{moment:%Y-%m-%dT%H:%M:%SZ}\"\n"
        yield "  symbols:\n" if listed.instruments else "  symbols: {}\n"
        for one in listed.instruments:
            facts = {name: fact for name, fact in _facts(one).items() if name != "symbol"}
            yield f"    {_quoted(one.symbol)}: {_quoted(facts)}\n"
        if listed.excluded:
            yield "  excluded:\n"
            yield from (f"    {_quoted(symbol)}: {_quoted(reason)}\n" for symbol, reason in sorted(listed.excluded.items()))


def _quoted(value: Any) -> str:
    """Return it as JSON that is also YAML: what cannot be printed is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(ord(one)) for one in text)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"
