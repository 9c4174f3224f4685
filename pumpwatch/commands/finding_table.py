"""Findings as table rows: each problem with its detail and hint, the passed checks of one kind in one row."""

from __future__ import annotations

from collections.abc import Sequence

from pumpwatch.commands.table import Column, text_width
from pumpwatch.findings import OK, Finding

FINDINGS = (Column("what"), Column("state"), Column("found", wraps=True), Column("ms", right=True, rank=1, optional=True))
MS_WIDTH = 7  # with its space
CONFIG, MACHINE = ("config", "proxy", "plugins", "venues"), ("data folder", "free disk", "clock", "clock sync")
SERVICES = ("listing", "sink")  # first words of names; the name of the service follows
PROTOCOLS = ("REST", "WebSocket")  # last words of names; the name of the venue precedes


def finding_rows(findings: Sequence[Finding], width: int) -> list[list[str] | str]:
    """Return a row of FINDINGS for each finding; its hint, and a detail too long for its column, are remarks below it."""
    room = width - sum(max([0, *map(len, texts)]) + 2 for texts in (
        [finding.name for finding in findings], [finding.state for finding in findings])) - MS_WIDTH
    rows: list[list[str] | str] = []
    for finding in findings:
        fits = text_width(finding.detail) <= room
        rows.append([finding.name, finding.state, finding.detail if fits else "",
                     "" if finding.ms is None else f"{finding.ms:.0f}"])
        rows += [*(() if fits else (finding.detail,)), *((finding.hint,) if finding.hint else ())]
    return rows


def summed_up(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings, with the passed checks of each kind summed up in the place of the first.

    A problem, a passed check with a hint, and a passed check alone of its kind stay as they are.
    """
    kinds: dict[str, list[Finding]] = {}
    asked: dict[str, int] = {}
    for finding in findings:
        kind, _ = _kind_and_name(finding)
        asked[kind] = asked.get(kind, 0) + 1
        if _plain(finding):
            kinds.setdefault(kind, []).append(finding)
    shown = []
    for finding in findings:
        kind, _ = _kind_and_name(finding)
        passed = kinds.get(kind, [])
        if not _plain(finding) or len(passed) == 1:
            shown.append(finding)
        elif finding is passed[0]:
            shown.append(_sum(kind, passed, asked[kind]))
    return shown


def _plain(finding: Finding) -> bool:
    return finding.state == OK and not finding.hint


def _sum(kind: str, passed: Sequence[Finding], asked: int) -> Finding:
    timed = [(finding.ms, finding) for finding in passed if finding.ms is not None]
    if not timed:
        return Finding(kind, OK, ", ".join(dict.fromkeys(_kind_and_name(finding)[1] for finding in passed)))
    ms, slowest = max(timed, key=lambda pair: pair[0])
    return Finding(kind, OK, f"{len(passed)} of {asked} answer, the slowest is {_kind_and_name(slowest)[1]}", ms=ms)


def _kind_and_name(finding: Finding) -> tuple[str, str]:
    """Return the kind of a finding, and its name without the kind."""
    name = finding.name
    if name in CONFIG or name.startswith("sinks."):
        return "config", name
    if name in MACHINE:
        return "machine", name
    first, _, rest = name.partition(" ")
    if first in SERVICES and rest:
        return first, rest
    venue, _, protocol = name.rpartition(" ")
    return (protocol, venue) if venue and protocol in PROTOCOLS else (name, name)
