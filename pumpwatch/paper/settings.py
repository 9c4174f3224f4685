"""The settings of a run that affect the outcome of a replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from pumpwatch.paper.results import ExitRules

FIXED, MEASURED = "fixed", "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a run.

    size: the quote amount of an entry; the account starts with CASH times that. share: the part of a trade's volume that an order
    may take, at most 1. latency: `fixed` (latency_ms) or `measured`, see `latency`.
    """

    size: Decimal = Decimal(1000)
    seed: int = 1
    latency: str = FIXED
    latency_ms: float = 50.0
    leverage: int = 1
    share: float = 0.1
    rules: ExitRules = field(default_factory=ExitRules)

    @property
    def cash(self) -> Decimal:
        """Return the initial balance of an account."""
        return self.size * CASH


CASH = 3  # covers two entries at once, fees, and a price that rises before the order arrives
