"""Ways to read a metric's values from a collector's figures (`status.json` as a mapping).

Each way is a function of the figures that yields (label values, value). A value that is not known is left out, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Labels = tuple[str, ...]
Reading = Iterable[tuple[Labels, float]]
Read = Callable[["Figures"], Reading]

HOLDERS = {"venue": "venues", "sink": "sinks", "channel": "notify"}  # label -> the section whose rows have its values


class Figures:
    """The figures of one moment, with their counters by name."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self.status = status
        self._counters: dict[str, list[Mapping[str, Any]]] = {}
        for row in status.get("counters", ()):
            self._counters.setdefault(row["name"], []).append(row)
        self._known = {label: [self.name_of(label, row) for row in status.get(section, ())] for label, section in HOLDERS.items()}
        self._known["source"] = list(self.sources())

    def counters(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Return the rows of one counter: its value, and its labels by name."""
        return self._counters.get(name, ())

    def known(self, label: str) -> Sequence[str]:
        """Return every value that a label has at present: the venues, sinks, sources and channels of the config."""
        return self._known.get(label, ())

    def sources(self) -> dict[str, Mapping[str, Any]]:
        """Return the states of the listing sources by name."""
        return {name: row for name, row in (self.status.get("listing") or {}).items() if isinstance(row, Mapping) and "up" in row}

    def rows_of(self, label: str) -> list[Mapping[str, Any]]:
        """Return the rows of a label's section, without sinks that are off: a roll-out gives them nothing yet."""
        return [row for row in self.status.get(HOLDERS[label], ()) if label != "sink" or row.get("state") != "off"]

    @staticmethod
    def name_of(label: str, row: Mapping[str, Any]) -> str:
        """Return the name of a row: of a venue `binance.spot`."""
        return f"{row['exchange']}.{row['market_type']}" if label == "venue" else str(row["name"])


def counted(counter: str, *labels: str) -> Read:
    """Read a counter of `Stats`, 0 for each known value of its label before it first counts. Sums over other labels."""
    def read(figures: Figures) -> Reading:
        found: dict[Labels, float] = {(): 0.0} if not labels else {}
        if len(labels) == 1:
            found = dict.fromkeys(((value,) for value in figures.known(labels[0])), 0.0)
        for row in figures.counters(counter):
            key = tuple(str(row.get(label, "")) for label in labels)
            found[key] = found.get(key, 0.0) + row["value"]
        return found.items()
    return read


def gauged(gauge: str, factor: float = 1.0) -> Read:
    """Read a gauge of `Stats` without labels; nothing before it is first set."""
    def read(figures: Figures) -> Reading:
        return [((), row["value"] * factor) for row in figures.counters(gauge)]
    return read


def field(section: str, key: str = "", factor: float = 1.0) -> Read:
    """Read a number of a section, or of the top level; nothing where it is null or absent."""
    def read(figures: Figures) -> Reading:
        place = figures.status.get(section)
        value = place if not key else place.get(key) if isinstance(place, Mapping) else None
        return [((), float(value) * factor)] if value is not None else []
    return read


def rows(label: str, key: str, factor: float = 1.0) -> Read:
    """Read a number of each row of a label's section; of a list its length, of a truth value 1 or 0."""
    def read(figures: Figures) -> Reading:
        for row in figures.rows_of(label):
            value = row.get(key)
            if value is not None:
                yield (figures.name_of(label, row),), (len(value) if isinstance(value, list) else float(value)) * factor
    return read


def judged(label: str, judge: Callable[[Mapping[str, Any]], bool]) -> Read:
    """Read 1 for each row of a label's section that passes, 0 for the others."""
    def read(figures: Figures) -> Reading:
        for row in figures.rows_of(label):
            yield (figures.name_of(label, row),), float(judge(row))
    return read


def jobs(key: str) -> Read:
    """Read a number of each scheduled job; nothing of a job that has none yet."""
    def read(figures: Figures) -> Reading:
        for row in figures.status.get("jobs", ()):
            if row.get(key) is not None:
                yield (str(row["name"]),), float(row[key])
    return read
