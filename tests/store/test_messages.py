"""Messages that wait are kept with their tries, over restarts and damage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pumpwatch.store.ledger import FILE_NAME, Ledger
from pumpwatch.store.messages import StoredMessage
from pumpwatch.store.salvage import salvage_file

FIRST = StoredMessage("phone", "seen:upbit:1:KITE", '{"title": "카이트 \\"K\\""}', 2**62 + 1)
SECOND = StoredMessage("hook", "seen:upbit:1:KITE", "{}", 2**62 + 2, 3, 2**62 + 9)


def test_messages_come_back_as_they_were_oldest_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.store_messages([SECOND, FIRST])
    ledger.store_messages([])
    ledger.close()
    ledger = Ledger(tmp_path)
    assert ledger.messages() == [FIRST, SECOND]
    ledger.store_messages([replace(FIRST, tries=1, next_at_ns=5)])
    assert ledger.messages()[0] == replace(FIRST, tries=1, next_at_ns=5)
    ledger.delete_message("phone", FIRST.event_id)
    ledger.delete_message("phone", FIRST.event_id)
    assert ledger.messages() == [SECOND]
    ledger.close()


def test_messages_of_channels_that_are_gone_are_deleted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.store_messages([FIRST, SECOND])
    assert ledger.delete_messages_except(["hook"]) == 1 and ledger.messages() == [SECOND]
    assert ledger.delete_messages_except([]) == 1 and ledger.messages() == []
    ledger.close()


def test_messages_survive_a_ledger_that_was_set_aside(tmp_path: Path) -> None:
    for folder in (tmp_path / "old", tmp_path / "new"):
        Ledger(folder).close()
    old = Ledger(tmp_path / "old")
    old.messages_since(5, 0)
    old.store_messages([FIRST], ["a"], 9)
    old.close()
    new = Ledger(tmp_path / "new")
    salvage_file(tmp_path / "old" / FILE_NAME, new._connection)  # type: ignore[arg-type]
    assert new.messages() == [FIRST] and new.told_event_ids() == ["a"] and new.messages_since(10, 0) == 5
    new.close()


def test_events_with_stored_messages_are_known_until_they_are_forgotten(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.messages_since(100, 0) == 100 and ledger.told_event_ids() == []
    ledger.store_messages([], ["b", "카이트"], 200)
    ledger.store_messages([FIRST], ["a"], 150)
    assert ledger.told_event_ids() == ["a", "b", "카이트"]
    assert ledger.messages_since(300, 200) == 100 and ledger.told_event_ids() == ["b", "카이트"]
    ledger.close()
