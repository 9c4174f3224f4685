"""Damage is settled where the ledger records it as lost, batch by batch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pumpwatch.model import Gap, GapState
from pumpwatch.ops.settled import SettledDamage

FILE = "20260101T00-000.sqlite"
LOST = Gap(exchange="binance", market_type="spot", symbol="", from_ns=1, to_ns=2, first_id=None, last_id=None,
           reason=f"journal damaged: {FILE}: batches 3 to 5 cannot be read", state=GapState.LOST)
WHOLE = replace(LOST, reason=f"journal damaged: {FILE}: the file cannot be read")
OPEN = replace(LOST, reason=f"journal damaged: {FILE}: batch 7 cannot be read", state=GapState.OPEN)


@pytest.mark.parametrize(("gaps", "lines", "covered"), [
    ([], ["batch 3: checksum"], False),
    ([LOST], ["batch 3: checksum", "batch 5: checksum"], True),
    ([LOST], ["batch 3: checksum", "batch 6: checksum"], False),
    ([LOST], ["batches 2 to 4 before it are in no file"], False),
    ([LOST], ["file is not a database"], False),
    ([WHOLE], ["file is not a database", "batch 9: checksum"], True),
    ([WHOLE, OPEN], ["file is not a database"], False),
    ([LOST, OPEN], ["batch 4: checksum"], True),
    ([OPEN], ["batch 7: checksum"], False),
    ([replace(LOST, state=GapState.FILLED)], ["batch 3: checksum"], False),
    ([replace(LOST, reason="connection lost")], ["batch 3: checksum"], False)])
def test_damage_is_settled_where_a_lost_gap_covers_it_and_no_open_one_does(
        gaps: list[Gap], lines: list[str], covered: bool) -> None:
    assert SettledDamage(gaps).covers(FILE, lines) is covered


def test_damage_of_another_file_is_not_settled_by_it() -> None:
    assert not SettledDamage([WHOLE]).covers("20260101T01-000.sqlite", ["batch 3: checksum"])
