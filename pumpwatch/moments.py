"""Parse points in time: ISO 8601, epochs of any unit, `now`, `-20m`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
NS = 1_000_000_000


def parse_moment(text: str, now_ns: int) -> int:
    """Return the time in ns UTC. Raises ValueError if the text is not a time."""
    text = text.strip()
    if text == "now":
        return now_ns
    ago = re.fullmatch(r"-(\d+(?:\.\d+)?)([smhd])", text)
    if ago:
        return now_ns - round(float(ago.group(1)) * UNITS_S[ago.group(2)] * NS)
    epoch = re.fullmatch(r"(\d{9,19})(?:\.(\d+))?", text)
    if epoch:
        whole, fraction = epoch.groups()
        unit: int = 10 ** (9 - 3 * max(0, -(-(len(whole) - 11) // 3)))  # 9-11 digits s, 12-14 ms, 15-17 us, 18+ ns
        return int(whole) * unit + (int(fraction[:9].ljust(9, "0")) * unit // NS if fraction else 0)
    return _from_iso(text)


def _from_iso(text: str) -> int:
    fraction = re.search(r"\.(\d+)", text)  # datetime only keeps microseconds
    moment = datetime.fromisoformat(text.replace(fraction.group(0), "", 1) if fraction else text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    nanoseconds = int(fraction.group(1)[:9].ljust(9, "0")) if fraction else 0
    return round(moment.timestamp()) * NS + nanoseconds
