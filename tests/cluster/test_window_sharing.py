"""Windows of several members on a real Redis: who waits, who joins, and what comes later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.cluster.news import News, PartNews
from pumpwatch.cluster.window_parts import WindowParts, window_name
from pumpwatch.cluster.window_sharing import NOT_PUT, WAIT_S, WindowSharing
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.listing.manifest import ArchiveManifest, read_manifest
from pumpwatch.listing.window_content import WindowContent
from pumpwatch.model import TradeBatch
from pumpwatch.redis.connection import RedisConnection
from tests.cluster.windows import CATALOGUE, END_NS, KITE, START_NS, reading
from tests.listing.market import listing_of, trades
from tests.redis.waiting import connected, eventually, in_thread
from tests.redis_server import RedisNode

LISTING = listing_of()
WINDOW = window_name([LISTING])


class Crew:
    """The members know of each other."""

    def __init__(self, *names: str) -> None:
        self.names, self.head = set(names), names[0]


class Sharer:
    """One member, which reads these instruments. told: its news."""

    def __init__(self, name: str, crew: Crew, redis: RedisConnection, folder: Path, numbers: list[int]) -> None:
        self.name, self.crew, self.folder, self.numbers = name, crew, folder / name, numbers
        self.clock, self.told = FakeClock(END_NS), list[News]()
        self.sharing = WindowSharing(WindowParts(redis, "t", "x", name), self,
                                     lambda coin, intervals: tuple(map(reading, self.numbers)), self.told.append, self.clock)

    def leads(self) -> bool:
        return self.crew.head == self.name

    def leader(self) -> str:
        return self.crew.head

    def alive(self) -> set[str]:
        return self.crew.names

    def write(self, *, final: bool = False) -> ArchiveManifest:
        """Make a pass as a window does, and return the manifest."""
        self.clock.advance(1)
        batch = TradeBatch.concat([trades(number, jump_ms=300) for number in self.numbers])
        content = self.sharing.join(
            WindowContent(span=Span("KITE", [LISTING], [(START_NS, END_NS)]), batch=batch, catalogue=CATALOGUE),
            self.folder / "KITE_20261103T060000Z", final)
        made = Pass(self.clock.now_ns(), final, content.problems, made_by=content.made_by, members=content.members)
        archive = write_archive(self.folder, content.span, content.batch, content.catalogue, content.parts, content.gaps, made)
        found = read_manifest(archive.path)
        assert found is not None
        return found

    def hear(self, other: Sharer) -> bool:
        """Hear the last news of another member; return whether the archive is to be made again."""
        news = other.told[-1]
        assert isinstance(news, PartNews)
        return self.sharing.part_arrived(other.name, news)


@pytest.fixture
def redis(single_redis: RedisNode) -> Iterator[RedisConnection]:
    connection = connected([single_redis.address])
    yield connection
    connection.close()


@pytest.fixture
def sharers(redis: RedisConnection, tmp_path: Path) -> list[Sharer]:
    crew = Crew("a", "b", "c")
    made = [Sharer(name, crew, redis, tmp_path, [number]) for name, number in zip("abc", KITE, strict=True)]
    for sharer in made:
        sharer.sharing.began([LISTING])
    return made


def states(manifest: ArchiveManifest) -> dict[str, str]:
    return {row.member: row.state for row in manifest.members}


def test_the_leader_waits_for_living_members_and_joins_all_parts(sharers: list[Sharer]) -> None:
    a, b, c = sharers
    assert a.sharing.waits([LISTING]) and not b.sharing.waits([LISTING])
    own = b.write()
    assert states(own) == {"b": "alone"} and "a joins" in own.members[0].reason
    assert a.hear(b) and a.sharing.waits([LISTING])
    c.write()
    a.hear(c)
    assert not a.sharing.waits([LISTING])
    joined = a.write(final=True)
    assert states(joined) == {"a": "merged", "b": "merged", "c": "merged"}
    assert joined.trades == sum(row.trades for row in joined.venues) > own.trades
    assert {row.state for row in joined.venues if row.symbols} == {"traded"}
    assert not a.hear(b)  # it is in the archive already


def test_the_leader_stops_waiting_and_names_the_missing_members(sharers: list[Sharer]) -> None:
    a, b, c = sharers
    assert a.sharing.waits([LISTING])
    b.write()
    a.clock.advance(WAIT_S + 1)
    assert not a.sharing.waits([LISTING])
    assert states(a.write()) == {"a": "merged", "b": "merged", "c": "missing"}
    c.write()  # it is back
    assert a.hear(c)
    assert states(a.write()) == {"a": "merged", "b": "merged", "c": "merged"}


def test_a_new_leader_joins_the_parts_in_redis_and_names_a_dead_member(sharers: list[Sharer]) -> None:
    a, b, c = sharers
    for sharer in (a, c, b):
        sharer.write()
    a.crew.names, a.crew.head = {"b", "c"}, "b"
    assert states(b.write()) == {"a": "merged", "b": "merged", "c": "merged"}


def test_a_member_that_died_in_the_window_is_missing_until_its_part_comes(sharers: list[Sharer], single_redis: RedisNode) -> None:
    a, b, c = sharers
    a.crew.names = {"a", "b"}
    b.write()
    first = a.write(final=True)
    assert {row.member: row.reason for row in first.members if row.state == "missing"} == {"c": NOT_PUT}
    single_redis.ask("FLUSHALL")  # two hours later
    c.write(final=True)
    assert a.hear(c)
    again = a.write(final=True)
    assert states(again) == {"a": "merged", "b": "merged", "c": "merged"} and again.trades > first.trades
    assert {row.state for row in again.venues if row.symbols} == {"traded"}


def test_a_part_waits_for_redis_and_an_unchanged_one_is_not_put_again(sharers: list[Sharer], single_redis: RedisNode,
                                                                      redis: RedisConnection) -> None:
    a, b, _ = sharers
    in_thread(single_redis.kill)
    eventually(lambda: not redis.up, "it is away")
    b.write()
    assert b.sharing.not_put == {WINDOW} and b.told == []
    found = a.write()
    assert all("Redis was away" in row.reason for row in found.members if row.state == "missing")
    in_thread(single_redis.start)
    eventually(lambda: redis.up, "it is back")
    b.write()
    b.write()
    assert b.sharing.not_put == set() and len(b.told) == 1
    b.numbers = [*b.numbers, KITE[2]]
    b.write()
    assert len(b.told) == 2


def test_the_time_between_members_clocks_changes_nothing(sharers: list[Sharer]) -> None:
    a, b, _ = sharers
    b.clock.advance(3600)
    b.write()
    assert a.hear(b) and states(a.write())["b"] == "merged"
    assert a.clock.now_ns() < b.clock.now_ns() - 1000 * NS_PER_S
