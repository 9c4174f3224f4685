"""`pumpwatch cluster`, as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pumpwatch.cli import run
from pumpwatch.errors import EXIT_CONFIG, EXIT_FOUND, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE
from tests.cluster.crew import Member, crew
from tests.redis.waiting import eventually
from tests.redis_server import RedisNode


def config(folder: Path, nodes: list[str], **cluster: object) -> str:
    file = folder / "pumpwatch.yaml"
    file.write_text(yaml.safe_dump({"redis": {"nodes": nodes}, "cluster": cluster}))
    return str(file)


def complete(*members: Member) -> bool:
    """Return whether members hold every role."""
    return len(frozenset().union(*(member.coordinator.roles for member in members))) == 3


def test_members_shards_and_roles_are_shown(single_redis: RedisNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config(tmp_path, [single_redis.address], name="crew")
    with crew(single_redis.address) as all_of:
        a, b = all_of.add("alpha"), all_of.add("beta", version="2")
        all_of.settle(a, b)
        eventually(lambda: complete(a, b), "every role is held")
        assert run(["cluster", "-c", file]) == EXIT_OK
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "cluster crew"
        assert [line.split()[:3] for line in lines[2:4]] == [["alpha", "in", "3"], ["beta", "in", "3"]]
        assert all(len(line) <= 80 for line in lines)
        assert len([line for line in lines if line.startswith(("one.", "two."))]) == 3
        assert run(["cluster", "--leases", "-c", file]) == EXIT_OK
        assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith(("one.", "two."))]) == 6
        assert run(["cluster", "--json", "-c", file]) == EXIT_OK
        rows = list(map(json.loads, capsys.readouterr().out.splitlines()))
        assert [row["kind"] for row in rows] == ["member"] * 2 + ["role"] * 3 + ["shard"] * 6
        assert {row["member"] for row in rows} == {"alpha", "beta"}
        a.pause()  # or it would take over before anybody looks
        b.coordinator.stop()
        assert run(["cluster", "-c", file]) == EXIT_FOUND
        assert "nobody reads one.futures/" in capsys.readouterr().err


def test_without_a_member_or_a_cluster_it_says_so(single_redis: RedisNode, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "-c", config(tmp_path, [single_redis.address], name="nobody")]) == EXIT_FOUND
    assert "cluster nobody has no members" in capsys.readouterr().out
    assert run(["cluster", "-c", config(tmp_path, [single_redis.address])]) == EXIT_USAGE
    assert "this collector runs alone" in capsys.readouterr().err
    assert run(["cluster", "-c", config(tmp_path, [], name="crew")]) == EXIT_CONFIG
    assert "redis.nodes is empty" in capsys.readouterr().err


def test_a_redis_that_is_away_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "-c", config(tmp_path, ["127.0.0.1:1"], name="crew")]) == EXIT_UNAVAILABLE
    assert "redis: " in capsys.readouterr().err
