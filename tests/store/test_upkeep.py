"""The ledger stays small, and whatever leaves it early leaves a gap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pumpwatch.model import Gap, GapState
from pumpwatch.records import ConnectionEvent, Quarantined, Records
from pumpwatch.store import upkeep
from pumpwatch.store.ledger import Ledger

DAY_NS = 86_400 * 10**9
GAP = Gap(exchange="binance", market_type="spot", symbol="BTCUSDT", from_ns=10, to_ns=20, first_id=5, last_id=7,
          reason="ids jumped")
VENUE_GAP = Gap(exchange="binance", market_type="spot", from_ns=10, to_ns=20, reason="down")
EVENT = ConnectionEvent(11, "binance", "spot", 3, "down", "1006")
BAD = Quarantined(12, "binance", "spot", "no JSON", b"x" * 5000)


def kept_up(ledger: Ledger, now_ns: int) -> int:
    """Do all of the upkeep; return in how many transactions."""
    steps = 1
    while ledger.upkeep(now_ns):
        steps += 1
    return steps


def test_what_is_too_old_is_forgotten_a_few_rows_at_a_time_and_open_gaps_never(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(Records([GAP, replace(GAP, from_ns=11, state=GapState.FILLED)],
                         [replace(EVENT, at_ns=at) for at in range(1200)] + [replace(EVENT, at_ns=DAY_NS)],
                         [replace(BAD, at_ns=at, payload=b"") for at in (*range(1200), DAY_NS)]))
    assert kept_up(ledger, DAY_NS + 90 * DAY_NS) >= 3
    assert [row.at_ns for row in ledger.quarantine()] == [event.at_ns for event in ledger.connection_events()] == [DAY_NS]
    assert [gap for _, gap in ledger.gaps()] == [GAP]


def test_the_quarantine_keeps_to_its_quota_while_it_is_written_and_says_what_it_forgot(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, quarantine_bytes=100 * (1000 + upkeep.ROW_BYTES))
    for start in range(10**12, 10**12 + 2000, 200):
        ledger.write(Records(quarantine=[replace(BAD, at_ns=at, payload=b"x" * 1000) for at in range(start, start + 200)]))
        assert ledger.quarantine_count() == 100
    assert ledger.quarantine()[0].at_ns == 10**12 + 1900, "the newest are kept"
    ((_, gap),) = ledger.gaps()
    assert gap.from_ns < 10**12 and gap.to_ns == 10**12 + 1900 and gap.reason == upkeep.FORGOTTEN
    ledger.close()
    ledger = Ledger(tmp_path, quarantine_bytes=50 * (1000 + upkeep.ROW_BYTES))
    kept_up(ledger, 10**12)
    assert ledger.quarantine_count() == 50, "a smaller quota holds for what is there"


def test_too_many_gaps_and_events_leave_the_newest_and_fold_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "GAPS_KEPT", 1000)
    monkeypatch.setattr(upkeep, "EVENTS_KEPT", 1000)
    ledger = Ledger(tmp_path)
    ledger.write(Records([replace(VENUE_GAP, from_ns=at, to_ns=at + 1, symbols=(f"S{at % 7}",)) for at in range(3000)],
                         [replace(EVENT, at_ns=at) for at in range(3000)]))
    kept_up(ledger, 3000)
    gaps = [gap for _, gap in ledger.gaps()]
    assert len(gaps) <= 1000 and len(ledger.connection_events()) == 1000
    assert (gaps[0].from_ns, gaps[0].symbols, gaps[0].reason) == (0, (), upkeep.FOLDED)
    assert gaps[0].to_ns == gaps[1].from_ns and gaps[-1].to_ns == 3000, "no moment is left out"
    assert ledger._rows("SELECT count(*) FROM gap_symbols", ()) == [(7,)]
