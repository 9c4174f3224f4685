"""The scrub reads every closed segment and hands its damage to the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pumpwatch.clock import FakeClock
from pumpwatch.stats import Stats
from pumpwatch.store.scrub import Scrub
from pumpwatch.store.segment import Segment
from tests.store.small_journal import segments_of, small_journal


class Scrubbed:
    """A journal that keeps what it is told."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments, self.found = segments, []

    def closed_segments(self) -> Sequence[Segment]:
        return self.segments

    def found_damage(self, path: Path, batches: Mapping[int, str], index_damaged: bool, whole: str) -> None:
        self.found.append((path, dict(batches), index_damaged, bool(whole)))


def test_damage_is_handed_over_and_sound_files_are_not(tmp_path: Path) -> None:
    paths = small_journal(tmp_path)
    journal, stats = Scrubbed(segments_of(tmp_path)), Stats()
    paths[1].write_bytes(b"no database" * 100)
    Scrub(journal, FakeClock(), stats).once()
    assert journal.found == [(paths[1], {}, False, True)]
    assert stats.get("journal_scrubs_total") == 1


def test_a_journal_without_closed_files_is_scrubbed_in_silence(caplog) -> None:
    Scrub(Scrubbed([]), FakeClock(), Stats()).once()
    assert caplog.text == ""
