"""Damaged answers of a venue's REST API: another page, half a body, a shorter list, no answer for a while."""

from __future__ import annotations

from pumpwatch.sim.dialect import History
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.http_messages import HttpReply
from pumpwatch.sim.rows import SymbolTable

PAGE = b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>\n<body>Checking your browser</body></html>"
LARGE_BYTES = 40_000_000
SHORT = {"few": 0.5, "none": 0.0}  # form -> the share of its symbols that the venue still lists
WITHOUT = "without"  # one symbol, which the fault names
HANG = "hang"  # not damaged: answered when the fault is over
FORMS = ("page", "nothing", "half", "listed", "large", WITHOUT, *SHORT)


def shortened(history: History, form: str, symbol: str = "") -> History:
    """Return an empty history with fewer symbols if the form requires that, otherwise the history itself."""
    specs = history.table.specs
    if form == WITHOUT:
        return TradeHistory(SymbolTable([spec for spec in specs if spec.symbol != symbol]), 0)
    return TradeHistory(SymbolTable(specs[:int(len(specs) * SHORT[form])]), 0) if form in SHORT else history


def damaged(reply: HttpReply, form: str) -> HttpReply:
    """Return the answer in a damaged form: replaced by a page, empty, cut in half, inside a list, or padded by 40 MB."""
    body = reply.body
    replaced = {"page": PAGE, "nothing": b"", "half": body[:len(body) // 2], "listed": b"[" + body + b"]"}
    if form == "large":
        return HttpReply(200, body + b" " * LARGE_BYTES)
    return HttpReply(200, replaced.get(form, body))
