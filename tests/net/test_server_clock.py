"""The clock is compared with those of many servers, and one wrong server does not count."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.net.server_clock import FRESH_NS, KEPT, ServerClocks

NOW_NS = 1_795_000_000 * NS_PER_S


def date(at_ns: int) -> dict[str, str]:
    return {"Date": formatdate(at_ns // NS_PER_S, usegmt=True)}


def test_the_median_of_the_servers_counts() -> None:
    clocks = ServerClocks()
    assert clocks.offset_s(NOW_NS) is None
    for host, behind_s in (("a", 10), ("b", 10), ("c", -86_400)):
        clocks.record(host, date(NOW_NS - behind_s * NS_PER_S), NOW_NS - NS_PER_S // 10, NOW_NS)
    assert clocks.offset_s(NOW_NS) == pytest.approx(9.5, abs=0.6)


def test_the_last_answer_of_a_server_counts_and_an_old_one_does_not() -> None:
    clocks = ServerClocks()
    clocks.record("a", date(NOW_NS - 50 * NS_PER_S), NOW_NS, NOW_NS)
    clocks.record("a", date(NOW_NS), NOW_NS, NOW_NS)
    assert clocks.offset_s(NOW_NS) == pytest.approx(0.0, abs=0.6)
    assert clocks.offset_s(NOW_NS + FRESH_NS) is None


@pytest.mark.parametrize(("headers", "took_s"), [
    ({}, 0.1), ({"Date": "yesterday"}, 0.1),
    ({"Date": "Mon, 99 Nov 2026 99:00:00 GMT"}, 0.1), (date(NOW_NS) | {"Age": "30"}, 0.1),
    (date(NOW_NS), 5.0)])
def test_an_answer_that_says_little_is_left_out(headers: dict[str, str], took_s: float) -> None:
    clocks = ServerClocks()
    clocks.record("a", headers, NOW_NS - int(took_s * NS_PER_S), NOW_NS)
    assert clocks.offset_s(NOW_NS) is None


def test_few_servers_are_remembered() -> None:
    clocks = ServerClocks()
    for number in range(3 * KEPT):
        clocks.record(str(number), date(NOW_NS - (0 if number >= KEPT * 2 else 99) * NS_PER_S), NOW_NS, NOW_NS)
    assert clocks.offset_s(NOW_NS) == pytest.approx(0.0, abs=0.6)
