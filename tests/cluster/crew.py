"""Members of a cluster in one process: real coordinators on a real Redis, and readers that log when they deliver."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import gevent

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.cluster.coordinator import Coordinator
from pumpwatch.cluster.facts import MemberFacts
from pumpwatch.cluster.shards import Shard, shards_of
from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.config_redis import RedisConfig
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.stats import Stats
from tests.redis.waiting import eventually

VENUES = ("one.futures", "one.spot", "two.spot")
LEASE_S = 1.5
CONNECT_S = 0.05  # until a shard that is read delivers


class ShiftedClock(Clock):
    """A machine whose wall clock is wrong by some seconds."""

    def __init__(self, by_s: float) -> None:
        self._by_ns = int(by_s * NS_PER_S)

    def now_ns(self) -> int:
        return super().now_ns() + self._by_ns


class LoggingReader:
    """Delivers a shard a moment after it was told to read it, and notes every call. Everything read is durable at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.calls: list[tuple[str, Shard, int, bool]] = []
        self.times: dict[Shard, list[list[float]]] = {}  # of delivering: from, to
        self.works = True  # false: nothing is granted any more
        self._frozen_ns = 0

    def read(self, shard: Shard, since_ns: int, beside: bool) -> None:
        self.calls.append(("read", shard, since_ns, beside))
        if not self.reads(shard):
            self.times.setdefault(shard, []).append([time.monotonic() + CONNECT_S, float("inf")])

    def delivers(self, shard: Shard) -> bool:
        return self.works and self.reads(shard) and time.monotonic() >= self.times[shard][-1][0]

    def leave(self, shard: Shard) -> None:
        self.calls.append(("leave", shard, 0, False))
        self.times[shard][-1][1] = time.monotonic()

    def read_until_ns(self, shard: Shard) -> int:
        return self._frozen_ns or self._clock.now_ns()

    def reads(self, shard: Shard) -> bool:
        return shard in self.times and self.times[shard][-1][1] == float("inf")

    def die(self) -> None:
        """Deliver nothing from now on."""
        self._frozen_ns, now = self._clock.now_ns(), time.monotonic()
        for spans in self.times.values():
            spans[-1][1] = min(spans[-1][1], now)


class Member:
    """One member. Its Redis may be behind an address of its own."""

    def __init__(self, name: str, address: str, *, host: str = "", place: str = "", shift_s: float = 0.0, version: str = "1",
                 instance: str = "", venues: Sequence[str] = VENUES, **config: Any) -> None:
        self.name, self.clock, self.stats = name, ShiftedClock(shift_s), Stats()
        self.config = ClusterConfig(**{"name": "crew", "lease_s": LEASE_S, "shards_per_venue": 2, **config})
        self.reader = LoggingReader(self.clock)
        self.redis = RedisConnection(RedisConfig(nodes=address.split(",")), self.stats)
        facts = MemberFacts(member=name, host=host or f"host-{name}", address=place or f"address-{name}",
                            instance=instance or f"folder-{name}", version=version)
        self.roles: list[tuple[str, bool]] = []
        self.coordinator = Coordinator(self.redis, self.config, facts, venues, self.reader, self.clock, self.stats,
                                       lambda role, holds: self.roles.append((role, holds)))
        self._running: gevent.Greenlet[..., None] | None = None

    def start(self, *, connect_s: float = 20.0) -> Member:
        self.redis.connect(connect_s)
        self.coordinator.join()
        self.go_on()
        return self

    def go_on(self) -> None:
        """Run, or run on after a pause."""
        self._running = gevent.spawn(self.coordinator.run)

    def pause(self) -> None:
        """Do nothing any more, as a suspended process."""
        assert self._running
        self._running.kill()

    def kill(self) -> None:
        """End without a word."""
        self.pause()
        self.reader.die()

    def stop(self) -> None:
        self.coordinator.stop()
        if self._running:
            self._running.join(10)
        self.reader.die()

    @property
    def held(self) -> frozenset[Shard]:
        return self.coordinator.held


class Crew:
    """The members of one test."""

    def __init__(self, address: str, **config: Any) -> None:
        self.address, self.config, self.members = address, config, list[Member]()
        self.shards = shards_of(VENUES, config.get("shards_per_venue", 2))

    def add(self, name: str, address: str = "", *, start: bool = True, **about: Any) -> Member:
        member = Member(name, address or self.address, **{**self.config, **about})
        self.members.append(member)
        return member.start() if start else member

    def settled(self, *members: Member, replicas: int = 1) -> bool:
        """Return whether these hold everything, in equal parts, read nothing else, and all of it delivers."""
        held = sorted(shard for member in members for shard in member.held)
        most = -(-len(self.shards) * replicas // len(members))
        return held == sorted(self.shards * replicas) and all(
            len(member.held) <= most and all(member.reader.delivers(shard) for shard in member.held)
            and {shard for shard in self.shards if member.reader.reads(shard)} == member.held for member in members)

    def settle(self, *members: Member, replicas: int = 1) -> None:
        eventually(lambda: self.settled(*members, replicas=replicas), f"{[member.name for member in members]} share everything")

    def holes(self, since: float, until: float) -> list[tuple[Shard, float, float]]:
        """Return when nobody delivered a shard, by the monotonic clock."""
        found = []
        for shard in self.shards:
            spans = sorted(span for member in self.members for span in member.reader.times.get(shard, []))
            at = since
            for begin, end in spans:
                if begin > at and at < until:
                    found.append((shard, at, min(begin, until)))
                at = max(at, end)
            if at < until:
                found.append((shard, at, until))
        return found

    def close(self) -> None:
        for member in self.members:
            if member._running:
                member._running.kill()
            member.redis.close()


@contextmanager
def crew(address: str, **config: Any) -> Iterator[Crew]:
    with ExitStack() as stack:
        found = Crew(address, **config)
        stack.callback(found.close)
        yield found
