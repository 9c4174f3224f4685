"""Shards and slots have names that are read back, and a symbol has the same shard everywhere."""

from __future__ import annotations

from pumpwatch.cluster.shards import Shard, ShardSlot, parse_slot, shard_of, shards_of, slots_of


def test_a_slot_is_read_back_from_its_name() -> None:
    for slot in (ShardSlot(Shard("one.spot", 3), 0), ShardSlot(Shard("a-b.futures", 12), 1)):
        assert parse_slot(str(slot)) == slot
    assert [parse_slot(text) for text in ("leader", "boards.0", "one.spot/x#0", "one.spot/1", "")] == [None] * 5


def test_every_symbol_is_in_one_of_the_shards_of_its_venue() -> None:
    shards = shards_of(["two.spot", "one.spot"], 4)
    assert shards == sorted(shards)
    assert len(shards) == 8
    assert {shard_of("one.spot", f"COIN{number}USDT", 4) for number in range(100)} == set(shards[:4])
    assert shard_of("one.spot", "BTCUSDT", 4) == shard_of("one.spot", "BTCUSDT", 4)


def test_a_shard_has_a_slot_for_each_replica() -> None:
    assert list(map(str, slots_of(Shard("one.spot", 1), 2))) == ["one.spot/1#0", "one.spot/1#1"]
