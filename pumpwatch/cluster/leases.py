"""The state of a cluster in Redis, read and changed by the scripts of this package alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from pumpwatch.cluster import scripts
from pumpwatch.cluster.facts import MemberFacts

T = TypeVar("T")
LONGEST_CALL_S = 2.0  # a stop may wait for two calls, however long a lease is


class Asked(Protocol):
    """The part of a RedisConnection that is used here."""

    @property
    def prefix(self) -> str: ...

    def call(self, operation: str, function: Callable[[Any], T], within_s: float) -> T: ...

    def script(self, source: str) -> Callable[..., Any]: ...


class MemberRow(NamedTuple):
    """A member as Redis knows it. expires_us: by Redis' clock; leaving: it hands its shards over."""

    id: str
    expires_us: int
    leaving: bool
    facts: MemberFacts


class LeaseRow(NamedTuple):
    """A lease. holder, next: ids of members, empty for none. read_until_us: the holder has everything durable up to then."""

    holder: str
    token: int
    expires_us: int
    read_until_us: int
    next: str
    next_until_us: int


@dataclass(frozen=True, slots=True)
class View:
    """The whole state at one moment of Redis' clock. settings: as they are stored; born_us: when they were."""

    now_us: int
    settings: bytes
    born_us: int
    members: Mapping[str, MemberRow]
    leases: Mapping[str, LeaseRow]

    def living(self) -> dict[str, MemberRow]:
        """Return the members whose time is not over."""
        return {name: row for name, row in self.members.items() if row.expires_us > self.now_us}

    def lease(self, slot: str) -> LeaseRow | None:
        """Return the lease of a slot while it is held, None where anyone may take it."""
        row = self.leases.get(slot)
        return row if row and row.holder and row.expires_us > self.now_us else None


class Held(NamedTuple):
    """A lease that this member holds, as it is renewed: read_until_us is 0 where nothing is known."""

    slot: str
    token: int
    read_until_us: int


class Refused(NamedTuple):
    """The cluster does not let this member in. kind: `settings`, or `name` where another one has it; theirs: what is stored."""

    kind: str
    theirs: bytes


class Beat(NamedTuple):
    """The answer to a renewal. tokens: of each lease in order, 0 for one that was lost."""

    view: View
    tokens: list[int]
    superseded: bool  # another process has this member's name now


class Step(NamedTuple):
    """A change of one slot. kind: `free`, `claim`, `hand` or `know`, see the script."""

    kind: str
    slot: str
    moment_us: int = 0


class Taken(NamedTuple):
    """The answer to a step. answer: taken, claimed, held, free or outside; before: the id of the holder before."""

    answer: str
    token: int
    read_until_us: int
    before: str


class Leases:
    """The scripts of one cluster, for one member. Every call may raise RedisUnavailable; it may have been carried out then."""

    def __init__(self, redis: Asked, cluster: str, id: str, lease_s: float) -> None:
        self._redis, self._id, self._lease_us = redis, id, round(lease_s * 1_000_000)
        self.within_s = min(lease_s / 5, LONGEST_CALL_S)
        self._tag = f"{redis.prefix}:{{cluster:{cluster}}}"
        self._keys = [f"{self._tag}:{name}" for name in ("settings", "members", "leases", "tokens")]
        self._beat, self._take, self._release, self._write, self._look = map(
            redis.script, (scripts.BEAT, scripts.TAKE, scripts.RELEASE, scripts.WRITE, scripts.LOOK))

    def beat(self, facts: MemberFacts, settings: bytes, held: Sequence[Held], floor: int, *, first: bool,
             leaving: bool) -> Beat | Refused:
        """Renew the membership and the leases, and return the state afterwards. floor: the highest token known here."""
        arguments: list[Any] = [self._id, self._lease_us, floor, int(first), int(leaving), facts.instance, settings,
                                msgspec.json.encode(facts)]
        for lease in held:
            arguments += lease
        answer = self._run("cluster beat", self._beat, arguments)
        if answer[0] != b"in":
            return Refused(answer[0].decode(), answer[1])
        _, now, born, superseded, tokens, members, leases = answer
        view = View(int(now), settings, int(born), _members(members), _leases(leases))
        return Beat(view, list(map(int, tokens)), bool(superseded))

    def take(self, steps: Sequence[Step], floor: int) -> list[Taken]:
        """Carry out steps, all at one moment; each succeeds or not by itself."""
        arguments: list[Any] = [self._id, self._lease_us, floor]
        for step in steps:
            arguments += step
        return [Taken(answer.decode(), int(token), int(read), "" if before == b"-" else before.decode())
                for answer, token, read, before in self._run("cluster take", self._take, arguments)]

    def release(self, held: Sequence[Held], *, leave: bool) -> int:
        """Give leases up, and the membership with `leave`. Return how many were not held any more."""
        arguments: list[Any] = [self._id, int(leave)]
        for lease in held:
            arguments += lease
        return int(self._run("cluster release", self._release, arguments))

    def write(self, slot: str, token: int, key: str, value: bytes, ttl_s: float) -> bool:
        """Store a value under the cluster's tag; return False where the token is not the newest of the slot."""
        arguments = [self._id, slot, token, max(1, round(ttl_s * 1000)), value]
        return bool(self._run("cluster write", self._write, arguments, [f"{self._tag}:{key}"]))

    def look(self) -> View:
        """Return the state without changing it."""
        seconds, us, stored, members, leases = self._run("cluster look", self._look, [])
        born, _, settings = stored.partition(b" ")
        return View(int(seconds) * 1_000_000 + int(us), settings, int(born or 0), _members(members), _leases(leases))

    def _run(self, operation: str, script: Callable[..., Any], arguments: list[Any], more_keys: Sequence[str] = ()) -> Any:
        keys = [*self._keys, *more_keys]
        return self._redis.call(operation, lambda client: script(client, keys, arguments), within_s=self.within_s)


def name_of(id: str) -> str:
    """Return the name of a member of which an id is given."""
    return id.partition("@")[0]


def _members(flat: Iterable[bytes]) -> dict[str, MemberRow]:
    found = {}
    for name, row in _pairs(flat).items():
        parts = row.split(b" ", 4)
        if len(parts) == 5:
            try:
                facts = msgspec.json.decode(parts[4], type=MemberFacts)
            except msgspec.DecodeError:  # of another version, whose facts are of another shape
                facts = MemberFacts(member=name, host=name, address=name, instance=parts[1].decode(), version="?")
            found[name] = MemberRow(parts[0].decode(), int(parts[2]), parts[3] == b"1", facts)
    return found


def _leases(flat: Iterable[bytes]) -> dict[str, LeaseRow]:
    found = {}
    for slot, row in _pairs(flat).items():
        parts = row.decode().split(" ")
        if len(parts) == 6:
            holder, token, expires, read, following, until = parts
            found[slot] = LeaseRow("" if holder == "-" else holder, int(token), int(expires), int(read),
                                   "" if following == "-" else following, int(until))
    return found


def _pairs(flat: Iterable[bytes]) -> dict[str, bytes]:
    values = list(flat)
    return {key.decode(): value for key, value in zip(values[::2], values[1::2], strict=True)}
