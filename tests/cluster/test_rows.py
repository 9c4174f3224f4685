"""Rows show members, shards and roles as Redis knows them."""

from __future__ import annotations

from pumpwatch.cluster.facts import MemberFacts, SharedSettings
from pumpwatch.cluster.leases import LeaseRow, MemberState, View
from pumpwatch.cluster.rows import member_rows, role_rows, shard_rows

S = 1_000_000
NOW = 1_900_000_000 * S
FACTS = MemberFacts(member="a", host="h", address="x", instance="i", version="9", pid=4, page="http://a/")
SETTINGS = SharedSettings(shards_per_venue=2, replicas=1, venues=("one.spot",)).encoded()
VIEW = View(NOW, SETTINGS, 0, {"a": MemberState("a@1", NOW + 4 * S, False, FACTS), "b": MemberState("b@1", NOW - 1, False, FACTS),
                          "c": MemberState("c@1", NOW + S, True, FACTS)},
            {"one.spot/0#0": LeaseRow("a@1", 7, NOW + 4 * S, NOW - 2 * S, "c@1", NOW + S),
             "one.spot/1#0": LeaseRow("b@1", 6, NOW - 1, 0, "c@1", NOW - S), "leader": LeaseRow("a@1", 8, NOW + S, 0, "", 0)})


def test_a_member_has_its_state_shards_and_roles() -> None:
    rows = member_rows(VIEW)
    assert [(row["member"], row["state"], row["shards"], row["roles"]) for row in rows] == [
        ("a", "in", 1, ["leader"]), ("b", "dead", 0, []), ("c", "leaving", 0, [])]
    assert rows[0]["expires_s"] == 4.0


def test_a_shard_has_its_reader_and_the_next_one() -> None:
    rows = shard_rows(VIEW)
    keys = ("venue", "shard", "replica", "member", "token", "next", "behind_s")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        ("one.spot", 0, 0, "a", 7, "c", 2.0), ("one.spot", 1, 0, "", 6, "", None)]
    assert rows[0]["read_until_ns"] == (NOW - 2 * S) * 1000


def test_a_role_has_its_holder() -> None:
    assert [(row["role"], row["member"]) for row in role_rows(VIEW)] == [("leader", "a"), ("boards.0", ""), ("boards.1", "")]
