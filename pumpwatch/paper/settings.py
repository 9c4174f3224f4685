"""The settings of a run that change what a replay comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from pumpwatch.paper.results import Rules

FIXED, MEASURED = "fixed", "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """size: the quote amount of an entry; the account starts with CASH times that. share: of a trade's volume, at most 1.

    latency: `fixed` (latency_ms) or `measured`: see `latency`.
    """

    size: Decimal = Decimal(1000)
    seed: int = 1
    latency: str = FIXED
    latency_ms: float = 50.0
    leverage: int = 1
    share: float = 0.1
    rules: Rules = field(default_factory=Rules)

    @property
    def cash(self) -> Decimal:
        """Return the balance that an account starts with."""
        return self.size * CASH


CASH = 3  # so that two entries at once, fees, and a price that runs away before the order is there are paid for
