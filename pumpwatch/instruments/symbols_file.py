"""Read and write `config/symbols.yaml`: the symbols of each venue, and the excluded symbols with the reason.

`pumpwatch init-symbols` writes the file, and a running collector updates it. A collector that starts while a venue's REST
service is down subscribes to the symbols in the file until the list comes. The configuration (`symbols`, `excluded`) chooses
which symbols to collect; the file does not.

Every line of the YAML file is a key and a JSON value, which makes reading about 140 times as fast. A file that was edited by
hand is read as YAML. Writing processes lock each other out, and each replaces only its own venues.
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
from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError
from pumpwatch.instruments.lists import possible
from pumpwatch.model import Instrument
from pumpwatch.net.texts import one_line

HEAD = """\
# The symbols of each venue, and the excluded ones with the reason. Written by `pumpwatch init-symbols` and by the
# collector, which keeps it up to date and overwrites manual changes. Choose what to collect in the configuration:
# exchanges.<name>.<market_type>.symbols (only these) and .excluded (all but these).
"""
NOT_CHOSEN = "not chosen in the config"
MODE = 0o640  # owner and group, like every file of a collector, whatever the umask is
RENEWED_NS = 86_400 * NS_PER_S  # an unchanged list gets a new time in the file after this long
LINE = re.compile(r'(?P<indent> *)(?P<key>"(?:[^"\\]|\\.)*"|\w+):(?: (?P<value>.*))?')


class SymbolEntry(msgspec.Struct, forbid_unknown_fields=True):
    """The facts of an instrument, under its symbol; values of 1 are left out of the file."""

    base: str
    quote: str
    multiplier: int = 1
    contract_size: float = 1.0
    price_divisor: float = 1.0


class SymbolsSection(msgspec.Struct, forbid_unknown_fields=True):
    """The section of a venue, under its name."""

    listed_at: str
    symbols: dict[str, SymbolEntry]
    excluded: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class VenueSymbols:
    """A venue's symbols at the time of one list. excluded: symbol -> reason."""

    listed_at_ns: int
    instruments: Sequence[Instrument]
    excluded: Mapping[str, str]

    def same_as(self, other: VenueSymbols | None) -> bool:
        """Return whether both look the same in the file, apart from the time."""
        return other is not None and self.excluded == other.excluded and (
            list(map(_facts, self.instruments)) == list(map(_facts, other.instruments)))


class SymbolsFile:
    """The symbols file and the changes to it. An empty path turns it off; with writes=False it is only read.

    `write` may run in another thread than the other methods.
    """

    def __init__(self, path: str, *, writes: bool = True) -> None:
        self.path, self._writes = Path(path) if path else None, writes
        self._put: dict[str, VenueSymbols] = {}
        self._changed: set[str] = set()  # venues whose latest symbols are not in the file yet
        self._known: dict[str, VenueSymbols] | None = None  # the file as it was read at the start
        self._invalid: tuple[tuple[int, int], StorageError] | None = None  # size and time of an invalid file, and its error

    def known(self, venue: str) -> VenueSymbols | None:
        """Return a venue's latest symbols from `put`, or from the file. Raises StorageError if the file is invalid."""
        if venue not in self._put and self._known is None and self.path:
            self._known = self._read(self.path)
        return self._put.get(venue) or (self._known or {}).get(venue)

    def put(self, venue: str, symbols: VenueSymbols) -> None:
        """Replace a venue's symbols. Unchanged symbols are written again only after RENEWED_NS."""
        before = self._put.get(venue)
        if before is None or not symbols.same_as(before) or symbols.listed_at_ns - before.listed_at_ns >= RENEWED_NS:
            self._put[venue] = symbols
            self._changed.add(venue)

    def text(self) -> str:
        """Return the content of a file with the venues that `put` got."""
        return "".join(_lines(self._put))

    def write(self) -> None:
        """Write the changed venues, and venues that are not in the file (it may have been removed). Raises StorageError."""
        if not self._writes or self.path is None or not self._put or (not self._changed and self.path.exists()):
            return
        changed, self._changed = self._changed, set()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _turn(self.path.parent) as folder:
                written = self._read(self.path)
                ours = {venue: symbols for venue, symbols in list(self._put.items())
                        if venue in changed or venue not in written}
                _replace(self.path, "".join(_lines(written | ours)), folder)
        except OSError as error:
            self._changed |= changed
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}",
                             "make its folder writable, or set `symbols_file` to another path or an empty text") from error
        except StorageError:
            self._changed |= changed
            raise

    def _read(self, path: Path) -> dict[str, VenueSymbols]:
        """Read the file. An invalid file is not read again until it changes."""
        try:
            stat = path.stat()
        except OSError:
            return read(path)
        if self._invalid and self._invalid[0] == (stat.st_size, stat.st_mtime_ns):
            raise self._invalid[1]
        try:
            return read(path)
        except StorageError as error:
            self._invalid = (stat.st_size, stat.st_mtime_ns), error
            raise


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[int]:
    """Lock the folder against other writing processes; yield its descriptor."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        close_now(descriptor)


def _replace(path: Path, text: str, folder: int) -> None:
    """Replace a file atomically and durably, or leave it unchanged."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as out:
            os.fchmod(out.fileno(), MODE)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
        os.fsync(folder)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path) -> dict[str, VenueSymbols]:
    """Return the symbols of each venue in a file; empty if it does not exist. Raises StorageError for an invalid file.

    Invalid instruments are left out, because their trades would be stored with wrong quantities.
    """
    try:
        sections = _sections(path.read_text("utf-8"))
        return {venue: VenueSymbols(_time_ns(section.listed_at), list(filter(possible, (
            Instrument(symbol=symbol, base=entry.base, quote=entry.quote, multiplier=entry.multiplier,
                       contract_size=entry.contract_size, price_divisor=entry.price_divisor)
            for symbol, entry in section.symbols.items()))), section.excluded) for venue, section in sections.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:  # msgspec's ValidationError is a ValueError
        raise StorageError(f"{path}: not a symbols file: {one_line(str(error), 300)}",
                         "remove it; it will be written again") from error


def _sections(text: str) -> dict[str, SymbolsSection]:
    try:
        return msgspec.json.decode(_as_json(text), type=dict[str, SymbolsSection])
    except ValueError:
        raw = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return msgspec.convert(raw or {}, dict[str, SymbolsSection], strict=False)  # YAML reads 1e-08 as text


def _as_json(text: str) -> str:
    """Return the output of `_lines` as JSON. Raises ValueError for other lines, or returns text that is not JSON."""
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


def _time_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * NS_PER_S


def _facts(instrument: Instrument) -> dict[str, Any]:
    facts: dict[str, Any] = {"symbol": instrument.symbol, "base": instrument.base, "quote": instrument.quote,
                             "multiplier": instrument.multiplier}
    sizes = (("contract_size", instrument.contract_size), ("price_divisor", instrument.price_divisor))
    return facts | {name: size for name, size in sizes if size != 1}


def _lines(venues: Mapping[str, VenueSymbols]) -> Iterator[str]:
    yield HEAD
    for venue, listed in sorted(venues.items()):
        listed_at = datetime.fromtimestamp(listed.listed_at_ns / NS_PER_S, UTC)
        yield f"\n{_quoted(venue)}:\n  listed_at: \"{listed_at:%Y-%m-%dT%H:%M:%SZ}\"\n"
        yield "  symbols:\n" if listed.instruments else "  symbols: {}\n"
        for instrument in listed.instruments:
            facts = {name: fact for name, fact in _facts(instrument).items() if name != "symbol"}
            yield f"    {_quoted(instrument.symbol)}: {_quoted(facts)}\n"
        if listed.excluded:
            yield "  excluded:\n"
            yield from (f"    {_quoted(symbol)}: {_quoted(reason)}\n" for symbol, reason in sorted(listed.excluded.items()))


def _quoted(value: Any) -> str:
    """Return a value as JSON that is also valid YAML: unprintable characters are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(letter if letter.isprintable() else _escaped(ord(letter)) for letter in text)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"
