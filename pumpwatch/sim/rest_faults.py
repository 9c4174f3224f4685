"""What a venue's REST side answers on a bad day, instead of what was asked for."""

from __future__ import annotations

from pumpwatch.sim.dialect import HttpReply
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.rows import SymbolTable

PAGE = b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>\n<body>Checking your browser</body></html>"
LARGE_BYTES = 40_000_000
SHORT = {"few": 0.5, "none": 0.0}  # form -> the share of its symbols that the venue still lists
WITHOUT = "without"  # one symbol, which the fault names
FORMS = ("page", "nothing", "half", "listed", "large", WITHOUT, *SHORT)


def shorter(history: TradeHistory, form: str, symbol: str = "") -> TradeHistory:
    """Return the same venue with fewer symbols, or with none."""
    specs = history.table.specs
    if form == WITHOUT:
        return TradeHistory(SymbolTable([spec for spec in specs if spec.symbol != symbol]), 0)
    return TradeHistory(SymbolTable(specs[:int(len(specs) * SHORT[form])]), 0) if form in SHORT else history


def spoilt(reply: HttpReply, form: str) -> HttpReply:
    """Return an answer as it came to harm: another page, cut off, inside a list, or with no end."""
    body = reply.body
    given = {"page": PAGE, "nothing": b"", "half": body[:len(body) // 2], "listed": b"[" + body + b"]"}
    if form == "large":
        return HttpReply(200, body + b" " * LARGE_BYTES)
    return HttpReply(200, given.get(form, body))
