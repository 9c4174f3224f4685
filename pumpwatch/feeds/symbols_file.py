"""`config/symbols.yaml`: what trades on each venue, and what is left out and why.

`pumpwatch init-symbols` writes it and a running collector keeps it up to date. It is for people to read, and for a
collector that starts while a venue's REST side is down: that one subscribes what the file knows until the list comes.
What is collected is chosen in the config (`symbols`, `excluded`), never here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.model import Instrument

HEAD = """\
# What trades on each venue, and what is left out and why. Written by `pumpwatch init-symbols` and by the collector,
# which keeps it up to date and overwrites what is changed by hand. Choose what is collected in the config:
# exchanges.<name>.<market_type>.symbols (only these) and .excluded (all but these).
"""
NOT_CHOSEN = "not chosen in the config"


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """An instrument, under its symbol; facts of 1 are left out of the file."""

    base: str
    quote: str
    multiplier: int = 1
    contract_size: float = 1.0
    price_divisor: float = 1.0


class Section(msgspec.Struct, forbid_unknown_fields=True):
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
    """The file, and what is to be written into it. An empty path is no file: nothing is read or written."""

    def __init__(self, path: str) -> None:
        self.path = Path(path) if path else None
        self._venues: dict[str, VenueSymbols] = {}
        self._changed = self._read = False

    def known(self, venue: str) -> VenueSymbols | None:
        """Return what is known of a venue, from before or from the file. Raises StorageError where the file cannot be read."""
        if not self._read and self.path:
            self._venues = read(self.path) | self._venues
            self._read = True
        return self._venues.get(venue)

    def put(self, venue: str, symbols: VenueSymbols) -> None:
        """Take a venue's symbols over; what is the same as before is not written again."""
        if not symbols.same_as(self._venues.get(venue)):
            self._changed = True
        self._venues[venue] = symbols

    def text(self) -> str:
        """Return the file as it is to be."""
        return "".join(_lines(self._venues))

    def write(self) -> None:
        """Replace the file where something has changed, keeping the venues that are only in it. Raises StorageError."""
        if self.path is None or not self._changed:
            return
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.known("")
            self._changed = False
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(self.text(), "utf-8")
            partial.replace(self.path)
        except OSError as error:
            self._changed = True
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}",
                             "make its folder writable, or set `symbols_file` to another path, or to none (empty)") from error


def read(path: Path) -> dict[str, VenueSymbols]:
    """Return what a symbols file says of each venue; nothing where there is none. Raises StorageError that names the place."""
    try:
        raw = yaml.load(path.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        sections = msgspec.convert(raw or {}, dict[str, Section], strict=False)  # to YAML 1e-08 is a text
        return {venue: VenueSymbols(_moment(one.listed_at), [
            Instrument(symbol=symbol, base=each.base, quote=each.quote, multiplier=each.multiplier,
                       contract_size=each.contract_size, price_divisor=each.price_divisor)
            for symbol, each in one.symbols.items()], one.excluded) for venue, one in sections.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:  # msgspec's ValidationError is a ValueError
        raise StorageError(f"{path}: not a symbols file: {' '.join(str(error).split())}",
                         "remove it; it is written anew") from error


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
            facts = {name: value for name, value in _facts(one).items() if name != "symbol"}
            yield f"    {_quoted(one.symbol)}: {{{', '.join(f'{name}: {_quoted(value)}' for name, value in facts.items())}}}\n"
        if listed.excluded:
            yield "  excluded:\n"
            yield from (f"    {_quoted(symbol)}: {_quoted(reason)}\n" for symbol, reason in sorted(listed.excluded.items()))


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
