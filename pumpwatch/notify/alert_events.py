"""Events about alerts: data for programs, a headline and a short text for people."""

from __future__ import annotations

from typing import Literal

import msgspec

from pumpwatch.listing.manifest import iso
from pumpwatch.printable import printable

FORMAT = "pumpwatch.alert/1"


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that has begun or ended. Webhooks and commands get it as JSON.

    id: unique among all events. name: as in the runbook. subject: the venue, sink or disk, such as `binance.spot`; empty for an
    alert about the whole collector. value, threshold: in the unit of the alert's metric. ended_at is empty, and ended_at_ns 0,
    while the alert is active.
    """

    format: str = FORMAT
    id: str
    kind: Literal["alert"] = "alert"
    state: Literal["began", "ended"]
    name: str
    subject: str
    severity: str
    summary: str
    description: str
    value: float
    threshold: float
    began_at: str
    began_at_ns: int
    ended_at: str = ""
    ended_at_ns: int = 0
    runbook: str
    drill: bool = False


def alert_event(name: str, subject: str, *, severity: str, summary: str, description: str, value: float, threshold: float,
                began_at_ns: int, ended_at_ns: int, runbook: str) -> AlertEvent:
    """Return the event of an alert that began; of one that ended if ended_at_ns is not 0."""
    state: Literal["began", "ended"] = "ended" if ended_at_ns else "began"
    return AlertEvent(
        id=f"alert:{name}:{subject}:{began_at_ns}:{state}", state=state, name=name, subject=subject, severity=severity,
        summary=printable(summary), description=printable(description, 1000), value=value, threshold=threshold,
        began_at=iso(began_at_ns), began_at_ns=began_at_ns, ended_at=iso(ended_at_ns) if ended_at_ns else "",
        ended_at_ns=ended_at_ns, runbook=runbook)


def alert_headline(event: AlertEvent) -> str:
    """Return one line, such as `CRITICAL: binance.spot is silent` or `Over: binance.spot is silent`."""
    return f"{event.severity.upper() if event.state == 'began' else 'Over'}: {event.summary}"


def alert_text(event: AlertEvent) -> str:
    """Return a few short lines."""
    began = f"since {_shown(event.began_at)}"
    if event.state == "began":
        return f"{event.description}\n{began}\nwhat to do: {event.runbook}"
    return f"{began}, until {_shown(event.ended_at)} ({_lasted((event.ended_at_ns - event.began_at_ns) / 1e9)})"


def _shown(moment: str) -> str:
    return f"{moment[:19].replace('T', ' ')} UTC"


def _lasted(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
