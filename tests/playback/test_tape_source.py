"""A venue's tape is sent when it is due; at the clients' pace the clock waits for a client that is behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.playback.archived import read_archived
from pumpwatch.playback.replay import Playback, PlayOptions
from pumpwatch.playback.tape_clock import AS_FAST_AS_TAKEN
from pumpwatch.playback.tape_source import QUEUE_BYTES, STEP_TRADES, ClientPace
from pumpwatch.sim.server import load_dialects
from tests.playback import made_archive


class Connection:
    """A client with a queue."""

    def __init__(self) -> None:
        self.stream = self
        self.queued = 0


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return made_archive.write(tmp_path, count=300).path


def replay_of(archive: Path, folder: Path, **options: object) -> Playback:
    return Playback(read_archived(archive), PlayOptions(**options), str(folder), load_dialects())  # type: ignore[arg-type]


def test_trades_are_sent_once_they_are_due_and_a_later_start_has_the_earlier_ones_in_the_history(
        archive: Path, tmp_path: Path) -> None:
    replay = replay_of(archive, tmp_path, recorded_times=True, lead_s=0.5)
    replay.begin()
    for source in replay.tapes:
        arrived, venue = source.recorded.arrived_at, replay.venues[source._venue.name]
        past = int((arrived < made_archive.ANNOUNCED_NS - 5 * 10**8).sum())
        assert source.next == past and 0 < past < len(source) and not venue.made
        source.advance(0.0, 0, int(arrived[past + 9]))
        assert source.next >= past + 10 and venue.made == source.next - past
        source.advance(0.0, 0, int(arrived[-1]) - 1)
        assert not source.finished()
        source.advance(0.0, 0, int(arrived[-1]))
        assert source.finished() and len(venue.history.recent(0, 1000)) == len(source)
    replay.close()


def test_the_pace_moves_over_some_trades_at_a_time_and_waits_for_a_client_that_is_behind(archive: Path, tmp_path: Path) -> None:
    replay = replay_of(archive, tmp_path, speed=AS_FAST_AS_TAKEN)
    replay.begin()
    (pace,) = (source for source in replay.sources if isinstance(source, ClientPace))
    before = replay.tape_clock.tape_ns
    slow = Connection()
    slow.queued = QUEUE_BYTES + 1
    venue = replay.venues["okx.spot"]
    venue.connections[1] = slow  # type: ignore[assignment]
    pace.advance(0.0, 0, 0)
    assert replay.tape_clock.tape_ns == before
    slow.queued = 0
    pace.advance(0.0, 0, 0)
    due = sum(int((source.recorded.arrived_at <= replay.tape_clock.tape_ns).sum()) for source in replay.tapes)
    assert STEP_TRADES <= due <= STEP_TRADES + 40 and not pace.finished()
    pace.advance(0.0, 0, 0)
    assert pace.finished() and replay.tape_clock.tape_ns == replay.to_ns
    del venue.connections[1]
    replay.close()
