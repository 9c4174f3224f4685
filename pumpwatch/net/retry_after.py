"""Reads the Retry-After header of an answer."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pumpwatch.clock import NS_PER_S

BANNED = 418  # the answer to an address that went on after 429; a ban lasts up to three days
BAN_MOST_S = 3 * 86_400.0
PAUSE_MOST_S = 900.0
LONGEST = 64  # characters of a date


def retry_after_s(status: int, text: str, now_ns: int) -> float:
    """Return the seconds that a Retry-After header asks for: whole seconds, or a date (RFC 9110, section 10.2.3).

    At most three days with 418 and 15 minutes with any other status; 0 if it is unreadable or in the past.
    """
    text = text.strip()
    return min(BAN_MOST_S if status == BANNED else PAUSE_MOST_S, _asked_s(text, now_ns))


def _asked_s(text: str, now_ns: int) -> float:
    if text.isascii() and text.isdigit():
        return float(text[:9]) if len(text.lstrip("0")) <= 9 else BAN_MOST_S
    if len(text) > LONGEST:
        return 0.0
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.fromtimestamp(now_ns / NS_PER_S, UTC)).total_seconds())
    except (ValueError, TypeError, LookupError, OverflowError):
        return 0.0
