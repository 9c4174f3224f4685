"""The settings of a cluster are compared word by word."""

from __future__ import annotations

from pumpwatch.cluster.facts import SharedSettings, refusal, settings_of
from pumpwatch.config_cluster import ClusterConfig


def test_the_same_settings_are_the_same_text() -> None:
    one = settings_of(ClusterConfig(), ["b.spot", "a.spot"])
    other = settings_of(ClusterConfig(lease_s=9.0, member="x"), ["a.spot", "b.spot"])
    assert one.encoded() == other.encoded()
    assert one.differences(other.encoded()) == []


def test_differences_are_named() -> None:
    ours = SharedSettings(shards_per_venue=4, replicas=1, venues=("a.spot", "b.spot"))
    theirs = SharedSettings(shards_per_venue=4, replicas=2, venues=("a.spot",), protocol=2)
    assert ours.differences(theirs.encoded()) == [
        "b.spot is read only here", "protocol is 1 here and 2 there", "replicas is 1 here and 2 there"]


def test_settings_that_another_program_stored_are_no_settings() -> None:
    ours = SharedSettings(shards_per_venue=4, replicas=1, venues=())
    assert ours.differences(b"no JSON") == ["its settings cannot be read"]
    assert "later is None here and 1 there" in ours.differences(b'{"later": 1}')


def test_a_rejection_has_a_hint() -> None:
    ours = SharedSettings(shards_per_venue=4, replicas=1, venues=())
    assert "set cluster.member" in refusal("x", "a", ours, "name", b"{}").hint
    assert "stop all members first" in refusal("x", "a", ours, "settings", b"{}").hint
