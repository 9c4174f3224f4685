"""Retry-After: seconds or a date, capped, and never an error."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.http import Http
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.retry_after import BAN_MOST_S, PAUSE_MOST_S, retry_after_s
from pumpwatch.venue import HttpRequest
from tests.net.hostile_server import answer, hostile, with_body

PLAIN = ssl.create_default_context()

NOW_NS = 1_700_000_000 * NS_PER_S  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(("status", "text", "expected"), [
    (429, "90", 90), (429, " 90 ", 90), (429, "0090", 90), (429, "Tue, 14 Nov 2023 22:14:50 GMT", 90),
    (429, "Tuesday, 14-Nov-23 22:14:50 GMT", 90), (429, "Tue Nov 14 22:14:50 2023", 90),
    (429, "3600", PAUSE_MOST_S), (418, "3600", 3600), (418, "9" * 5000, BAN_MOST_S), (429, "9" * 5000, PAUSE_MOST_S),
    (418, "Fri, 31 Dec 9999 23:59:59 GMT", BAN_MOST_S), (503, "1000", PAUSE_MOST_S),
    *((429, text, 0) for text in (
        "", "0", "-5", "+5", "1.5", "²", "٣", "1e3", "nan", "inf", "0x10", "5, 6", "soon", "\x00", "9" * 40 + " x",
        "Tue, 14 Nov 2023 22:13:19 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "Tue, 99 Nov 2023 22:14:50 GMT",
        "Tue, 14 Nov 99999 22:14:50 GMT")),
])
def test_it_is_read_by_the_standard_and_capped(status: int, text: str, expected: float) -> None:
    assert retry_after_s(status, text, NOW_NS) == pytest.approx(expected)


@given(st.text() | st.text(alphabet="0123456789 ,:+-GMTueNov"), st.sampled_from([418, 429, 503]))
@example("Fri, 31 Dec 9999 23:59:59 -2359", 429)
@example("Mon, 01 Jan 0001 00:00:00 +2359", 429)
def test_any_header_gives_a_pause_that_ends(text: str, status: int) -> None:
    assert 0 <= retry_after_s(status, text, NOW_NS) <= (BAN_MOST_S if status == 418 else PAUSE_MOST_S)


@pytest.mark.parametrize(("status", "text", "least_s", "most_s"), [
    ("429 x", "86400", 899, 901), ("418 x", "86400", 86_399, 86_401), ("429 x", "\xb2", 4, 6), ("429 x", "-3", 4, 6),
    ("418 x", "", 59, 61), ("500 x", "600", 0, 1)])
def test_a_venue_that_asks_for_a_pause_gets_it(status: str, text: str, least_s: float, most_s: float) -> None:
    budget = TokenBucket(10, 10, Clock())
    body = with_body(b"slow\r\ndown", status=status).replace(b"\r\n", f"\r\nRetry-After: {text}\r\n".encode("latin-1"), 1)
    with hostile(answer(body)) as venue, pytest.raises(ServiceUnavailable, match="slow down"):
        Http(PLAIN, 5.0).ask(f"http://{venue.address}", HttpRequest("/x"), {}, budget)
    assert least_s <= budget.reserve() <= most_s
