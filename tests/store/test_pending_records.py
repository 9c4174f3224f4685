"""Records that wait for the ledger are bounded, kept once, and never dropped without a gap."""

from __future__ import annotations

from dataclasses import replace

from pumpwatch.records import Quarantined, Records
from pumpwatch.store import pending_records
from tests.store.scripted_journal import batch, gaps_of, ids, make, venue_gap


def test_gaps_of_two_connections_lost_at_one_moment_are_two_and_fold_into_one_of_their_venue(monkeypatch):
    one, journal, _, _ = make()
    gaps = [replace(venue_gap(from_ns=10, to_ns=20), symbols=(f"S{number}", "S9")) for number in range(3)]
    one.put(None, Records(gaps=gaps))
    assert one.flush() and gaps_of(journal) == gaps
    journal.records.clear()
    monkeypatch.setattr(pending_records, "GAPS_KEPT", 2)
    one.put(None, Records(gaps=gaps))
    assert one.flush()
    (gap,) = gaps_of(journal)
    assert (gap.symbols, gap.from_ns, gap.to_ns) == ((), 10, 20) and gap.touches("anything")


def test_quarantine_is_kept_up_to_a_bound_while_the_journal_refuses_and_the_rest_is_a_gap(monkeypatch, caplog):
    monkeypatch.setattr(pending_records, "QUARANTINE_KEPT", 100)
    one, journal, _, _ = make()
    journal.full = True
    for number in range(1000):
        one.put(None, Records(quarantine=[Quarantined(10**12 + number, "one", "spot", "no JSON", b"x")]))
        assert number % 100 or not one.flush()
    journal.full = False
    assert one.flush()
    (records,) = journal.records
    assert [row.at_ns for row in records.quarantine] == [10**12 + number for number in range(900, 1000)]
    (gap,) = records.gaps
    assert gap.from_ns < 10**12 and gap.to_ns == 10**12 + 900 and "refused frames" in gap.reason
    assert len([record for record in caplog.records if "records dropped" in record.message]) == 1


def test_a_gap_recorded_again_while_the_ledger_refuses_is_kept_once():
    one, journal, _, _ = make()
    journal.full = True
    for number in range(500):
        one.put(None, Records(gaps=[venue_gap(to_ns=2 + number)]))
        assert number % 100 or not one.flush()
    journal.full = False
    assert one.flush()
    assert gaps_of(journal) == [venue_gap(to_ns=501)]


def test_too_many_gaps_of_single_symbols_become_one_of_their_venue(monkeypatch):
    monkeypatch.setattr(pending_records, "GAPS_KEPT", 50)
    one, journal, _, _ = make()
    one.put(None, Records(gaps=[venue_gap(f"S{number}", 10 * number, 10 * number + 5) for number in range(60)]))
    assert one.flush()
    (gap,) = gaps_of(journal)
    assert (gap.symbol, gap.from_ns, gap.to_ns) == ("", 0, 595)


def test_drops_of_another_outage_are_another_gap():
    one, journal, _, _ = make(limit=25)
    for outage in range(2):
        journal.full = True
        for start in range(outage * 1000, outage * 1000 + 60, 10):
            one.put(batch(start, 10), Records())
        assert not one.flush()
        journal.full = False
        assert one.flush()
    assert sorted(gap.from_ns for gap in gaps_of(journal) if gap.exchange == "one") == [0, 10_000]


def test_records_dropped_while_the_ledger_refuses_become_one_growing_gap_per_venue():
    one, journal, _, _ = make(limit=25)
    journal.full = True
    for start in range(0, 4_000, 10):
        one.put(batch(start, 10), Records())
        if start % 1000 == 0:
            assert not one.flush()
    journal.full = False
    assert one.flush()
    assert ids(journal.batches) == list(range(3_980, 4_000))
    assert sorted((gap.exchange, gap.from_ns, gap.to_ns) for gap in gaps_of(journal)) == [
        ("one", 0, 39_781), ("two", 10, 39_791)]
