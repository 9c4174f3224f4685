"""Ways to read a metric's values from a collector's figures (`status.json` as a mapping).

Each way is a function of the figures that yields (label values, value). Unknown values are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Labels = tuple[str, ...]
Reading = Iterable[tuple[Labels, float]]
Read = Callable[["MetricFigures"], Reading]

HOLDERS = {"venue": "venues", "sink": "sinks", "channel": "notify"}  # label -> the section whose rows have its values


class MetricFigures:
    """The figures of one moment, with counters by name."""

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
        """Return every present value of a label: the venues, sinks, sources and channels of the config."""
        return self._known.get(label, ())

    def sources(self) -> dict[str, Mapping[str, Any]]:
        """Return the states of the listing sources by name."""
        return {name: row for name, row in (self.status.get("listing") or {}).items() if isinstance(row, Mapping) and "up" in row}

    def rows_of(self, label: str) -> list[Mapping[str, Any]]:
        """Return the rows of a label's section, without sinks that are off because of a roll-out."""
        return [row for row in self.status.get(HOLDERS[label], ()) if label != "sink" or row.get("state") != "off"]

    @staticmethod
    def name_of(label: str, row: Mapping[str, Any]) -> str:
        """Return the name of a row, such as `binance.spot` of a venue."""
        return f"{row['exchange']}.{row['market_type']}" if label == "venue" else str(row["name"])


def counted(counter: str, *labels: str) -> Read:
    """Read a counter of `Stats`, summed over other labels; 0 for known values of its label that it has not counted yet."""
    def read(figures: MetricFigures) -> Reading:
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
    def read(figures: MetricFigures) -> Reading:
        return [((), row["value"] * factor) for row in figures.counters(gauge)]
    return read


def field(section: str, key: str = "", factor: float = 1.0) -> Read:
    """Read a number of a section, or of the top level; nothing if it is null or absent."""
    def read(figures: MetricFigures) -> Reading:
        place = figures.status.get(section)
        value = place if not key else place.get(key) if isinstance(place, Mapping) else None
        return [((), float(value) * factor)] if value is not None else []
    return read


def rows(label: str, key: str, factor: float = 1.0) -> Read:
    """Read a number of each row of a label's section; for a list its length, for a boolean 1 or 0."""
    def read(figures: MetricFigures) -> Reading:
        for row in figures.rows_of(label):
            value = row.get(key)
            if value is not None:
                yield (figures.name_of(label, row),), (len(value) if isinstance(value, list) else float(value)) * factor
    return read


def judged(label: str, judge: Callable[[Mapping[str, Any]], bool]) -> Read:
    """Read 1 for each row of a label's section that `judge` accepts, 0 for the others."""
    def read(figures: MetricFigures) -> Reading:
        for row in figures.rows_of(label):
            yield (figures.name_of(label, row),), float(judge(row))
    return read


def jobs(key: str) -> Read:
    """Read a number of each scheduled job; nothing for a job without it."""
    def read(figures: MetricFigures) -> Reading:
        for row in figures.status.get("jobs", ()):
            if row.get(key) is not None:
                yield (str(row["name"]),), float(row[key])
    return read
