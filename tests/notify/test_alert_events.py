"""An alert's event: its words for people, its JSON for programs, and its way through the ledger."""

from __future__ import annotations

import msgspec
import pytest

from pumpwatch.notify.alert_events import AlertEvent, alert_event
from pumpwatch.notify.events import decode, headline, text
from tests.notify.told import Script, event

BEGAN_NS = 1_793_685_735_000_000_000


def alert(ended_s: int = 0, severity: str = "critical") -> AlertEvent:
    return alert_event(
        "VenueSilent", "binance.spot", severity=severity, summary="binance.spot is silent",
        description="No trade of binance.spot was read for 135 s.", value=135.0, threshold=120.0, began_at_ns=BEGAN_NS,
        ended_at_ns=BEGAN_NS + ended_s * 10**9 if ended_s else 0, runbook="docs/runbook.md#venuesilent")


def test_the_words_of_a_beginning_and_an_end() -> None:
    assert headline(alert()) == "CRITICAL: binance.spot is silent"
    assert text(alert()) == ("No trade of binance.spot was read for 135 s.\nsince 2026-11-03 06:02:15 UTC\n"
                             "what to do: docs/runbook.md#venuesilent")
    assert headline(alert(450)) == "Over: binance.spot is silent"
    assert text(alert(450)) == "since 2026-11-03 06:02:15 UTC, until 2026-11-03 06:09:45 UTC (8 min)"


@pytest.mark.parametrize(("seconds", "shown"), [(90, "90 s"), (3600, "60 min"), (9000, "2.5 h")])
def test_the_time_it_lasted_is_in_a_unit_that_fits(seconds: int, shown: str) -> None:
    assert text(alert(seconds)).endswith(f"({shown})")


def test_beginning_and_end_have_ids_of_their_own_and_come_back_from_json_as_they_were() -> None:
    began, ended = alert(), alert(60)
    assert began.id == f"alert:VenueSilent:binance.spot:{BEGAN_NS}:began" and ended.id.endswith(":ended")
    for told in (began, ended, event()):
        assert decode(msgspec.json.encode(told).decode()) == told
    with pytest.raises(msgspec.DecodeError):
        decode('{"kind": "alert"}')


def test_a_channel_gets_alerts_only_where_it_wants_them() -> None:
    assert Script().channel(events=("alert",)).wants(alert())
    assert not Script().channel(events=("seen", "archived")).wants(alert())
    assert not Script().channel(events=("alert",)).wants(event())
