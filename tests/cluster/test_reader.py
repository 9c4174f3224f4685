"""The reader of the tests is one that a coordinator takes."""

from __future__ import annotations

from pumpwatch.clock import Clock
from pumpwatch.cluster.reader import ShardReader
from pumpwatch.cluster.shards import Shard
from tests.cluster.crew import LoggingReader


def test_a_reader_accepts_repeated_calls() -> None:
    logging_reader = LoggingReader(Clock())
    reader: ShardReader = logging_reader
    shard = Shard("one.spot", 0)
    reader.read(shard, 0, True)
    reader.read(shard, 5, False)
    assert len(logging_reader.times[shard]) == 1
    reader.leave(shard)
    assert not reader.delivers(shard)
