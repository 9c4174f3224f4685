"""When the run before ended, and the gap since then."""

from __future__ import annotations

import json
from types import SimpleNamespace

from pumpwatch_plugins.exchanges.binance import VENUES as CONTIGUOUS
from pumpwatch_plugins.exchanges.bybit import VENUES as UNIQUE

from pumpwatch.app.run_before import down_since_ns, ended_ns, gap_since
from pumpwatch.clock import NS_PER_S
from pumpwatch.downtime import KILLED_BESIDE
from pumpwatch.errors import StorageError
from pumpwatch.records import BESIDE, ConnectionEvent

NOW_NS = 1_700_000_000 * NS_PER_S
VENUE = UNIQUE[0]


def gap(events, *, clean=False):
    return gap_since(VENUE, NOW_NS - NS_PER_S, NOW_NS, events, clean=clean)


def refuse(from_ns):
    raise StorageError("no answer")


def test_after_a_kill_the_reason_says_if_a_connection_was_opened_beside_another_or_if_that_is_not_known():
    alone = gap(lambda from_ns: [])
    event = ConnectionEvent(alone.from_ns, VENUE.exchange, VENUE.market_type, 0, BESIDE, "")
    assert alone.reason != KILLED_BESIDE and gap(lambda from_ns: [event]).reason == KILLED_BESIDE
    assert gap(refuse).reason == KILLED_BESIDE
    assert gap(refuse, clean=True).from_ns > alone.from_ns  # nothing is asked then


def test_a_venue_is_missed_since_its_own_last_trade():
    names = {(venue.exchange, venue.market_type, "A"): (1, NOW_NS - age_s * NS_PER_S)
             for venue, age_s in ((VENUE, 3600), (CONTIGUOUS[0], 10))}
    recovery = SimpleNamespace(last_ids=names, last_received_at_ns=NOW_NS)
    assert down_since_ns(VENUE, recovery) == NOW_NS - 3600 * NS_PER_S
    assert down_since_ns(UNIQUE[1], recovery) == NOW_NS


def test_a_run_ended_when_it_last_wrote_its_figures(tmp_path):
    assert ended_ns(tmp_path, NOW_NS) == 0
    (tmp_path / "status.json").write_text(json.dumps({"pid": 1, "written_at_ns": NOW_NS - 5}))
    assert ended_ns(tmp_path, NOW_NS) == NOW_NS - 5 and ended_ns(tmp_path, NOW_NS - 9) == NOW_NS - 9
