"""The counters and gauges of one process.

A name ends in its unit (`_total`, `_bytes`, `_seconds`, `_ns`); labels are keyword arguments. Call the methods once per batch
or event, never per trade.
"""

from __future__ import annotations

from collections.abc import Iterator

Key = tuple[str, tuple[tuple[str, str], ...]]


class Stats:
    """A flat table of numbers keyed by name and labels."""

    def __init__(self) -> None:
        self._values: dict[Key, float] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add `amount` to a counter."""
        key = _key(name, labels)
        self._values[key] = self._values.get(key, 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._values[_key(name, labels)] = value

    def get(self, name: str, **labels: str) -> float:
        """Return a value, 0 if it was never set."""
        return self._values.get(_key(name, labels), 0)

    def total(self, name: str) -> float:
        """Return the sum over all labels of one name."""
        return sum(value for (known, _), value in self._values.items() if known == name)

    def items(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield (name, labels, value), sorted by name and labels."""
        for (name, labels), value in sorted(self._values.items()):
            yield name, dict(labels), value


def _key(name: str, labels: dict[str, str]) -> Key:
    return name, tuple(sorted(labels.items()) if len(labels) > 1 else labels.items())
