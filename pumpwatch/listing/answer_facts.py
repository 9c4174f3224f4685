"""The facts of a board's answer that show how old its list is, and how far our clock differs from the board's."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.net.texts import masked, one_line

HEADER_LENGTH = 200


def answer_facts(url: str, headers: Mapping[str, str], asked_at_ns: int, answered_at_ns: int) -> dict[str, Any]:
    """Return the facts of one answer as plain data.

    url: without secrets. asked_at_ns, answered_at_ns. date, age, etag: the unchanged headers, None if missing. clock_offset_ms:
    our clock minus the board's, by the headers Date and Age. A Date has whole seconds, so the true offset is within
    clock_offset_within_ms of it. Both are None without a valid Date.
    """
    date, age, etag = (headers.get(name) for name in ("Date", "Age", "ETag"))
    offset_ms = within_ms = None
    sent_ns = _ns(date)
    if sent_ns is not None:
        aged_s = int(age) if age is not None and age.isdecimal() and len(age) < 10 else 0
        theirs_ns = sent_ns + aged_s * NS_PER_S + NS_PER_S // 2  # the middle of that second
        ours_ns = (asked_at_ns + answered_at_ns) // 2
        offset_ms = round((ours_ns - theirs_ns) / NS_PER_MS, 3)
        within_ms = round((NS_PER_S + answered_at_ns - asked_at_ns) / 2 / NS_PER_MS, 3)
    return {"url": masked(url), "asked_at_ns": asked_at_ns, "answered_at_ns": answered_at_ns, "date": _shown(date),
            "age": _shown(age), "etag": _shown(etag), "clock_offset_ms": offset_ms, "clock_offset_within_ms": within_ms}


def _ns(date: str | None) -> int | None:
    try:
        return int(parsedate_to_datetime(date or "").timestamp()) * NS_PER_S
    except (ValueError, OverflowError, TypeError):
        return None


def _shown(header: str | None) -> str | None:
    return None if header is None else one_line(header, HEADER_LENGTH)
