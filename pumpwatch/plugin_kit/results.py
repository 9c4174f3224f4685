"""What a check found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

OK, WARN, FAIL = "ok", "warn", "fail"
SHOWN = 3  # examples of what is wrong


@dataclass(frozen=True, slots=True)
class Check:
    """One row: what was held against the contract (a venue, a source, ...), which part of it, ok, warn or fail, and why."""

    of: str
    check: str
    state: str
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


class Problems:
    """Collects what is wrong with one part, and becomes one row."""

    def __init__(self, of: str, check: str) -> None:
        self.of, self.check = of, check
        self.failures: list[str] = []
        self.warnings: list[str] = []

    def want(self, held: bool, otherwise: str) -> None:
        """Fail where it does not hold."""
        if not held:
            self.failures.append(otherwise)

    def wish(self, held: bool, otherwise: str) -> None:
        """Warn where it does not hold."""
        if not held:
            self.warnings.append(otherwise)

    def row(self, good: str) -> Check:
        """Return the row; `good` says what was looked at where nothing is wrong."""
        said = self.failures or self.warnings
        state = FAIL if self.failures else WARN if said else OK
        more = f" (and {len(said) - SHOWN} more)" if len(said) > SHOWN else ""
        return Check(self.of, self.check, state, "; ".join(said[:SHOWN]) + more if said else good)


def short(text: bytes | str, most: int = 80) -> str:
    """Return the beginning of a frame or body, for a message."""
    shown = text.decode(errors="replace") if isinstance(text, bytes) else text
    return shown if len(shown) <= most else f"{shown[:most]}... ({len(text):,} in all)"


def many(number: int, what: str, plural: str = "") -> str:
    """Return `1 message`, `2 messages`, `3,000 messages`."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


def failed(checks: Sequence[Check]) -> Iterator[Check]:
    """Return the rows that fail."""
    return (one for one in checks if one.state == FAIL)
