"""The results of the checks: one row a check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pumpwatch.findings import FAIL, OK, WARN

SHOWN = 3  # problems that a row names


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. of: the venue, source, sink or plugin. check: a part of the contract. state: ok, warn or fail."""

    of: str
    check: str
    state: str
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


class Problems:
    """Collects the problems of one check; `row` returns the result."""

    def __init__(self, of: str, check: str) -> None:
        self.of, self.check = of, check
        self.failures: list[str] = []
        self.warnings: list[str] = []

    def must(self, holds: bool, problem: str) -> None:
        """Fail with this problem if the condition is false."""
        if not holds:
            self.failures.append(problem)

    def should(self, holds: bool, problem: str) -> None:
        """Warn of this problem if the condition is false."""
        if not holds:
            self.warnings.append(problem)

    def row(self, good: str) -> Check:
        """Return the row. good: its detail without a problem, which states what was checked."""
        problems = self.failures or self.warnings
        state = FAIL if self.failures else WARN if problems else OK
        more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        return Check(self.of, self.check, state, "; ".join(problems[:SHOWN]) + more if problems else good)


def short(text: bytes | str, most: int = 80) -> str:
    """Return at most `most` characters of a frame or body, for a message."""
    shown = text.decode(errors="replace") if isinstance(text, bytes) else text
    return shown if len(shown) <= most else f"{shown[:most]}... ({len(text):,} in all)"


def counted(number: int, what: str, plural: str = "") -> str:
    """Return `1 message`, `2 messages`, `3,000 messages`."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


def failed(checks: Sequence[Check]) -> Iterator[Check]:
    """Return the rows that fail."""
    return (check for check in checks if check.state == FAIL)
