"""The state of a cluster in Redis, read and changed only by the scripts of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from pumpwatch.cluster import scripts
from pumpwatch.cluster.facts import MemberFacts

T = TypeVar("T")
LONGEST_CALL_S = 2.0  # a stop may wait for two calls, so their length must not grow with the lease


class RedisCalls(Protocol):
    """The part of RedisConnection that runs scripts."""

    @property
    def prefix(self) -> str: ...

    def call(self, operation: str, function: Callable[[Any], T], within_s: float) -> T: ...

    def script(self, source: str) -> Callable[..., Any]: ...


class MemberState(NamedTuple):
    """A member as stored in Redis. expires_us: by Redis' clock. leaving: it hands its shards over."""

    id: str
    expires_us: int
    leaving: bool
    facts: MemberFacts


class LeaseRow(NamedTuple):
    """A lease. holder, next: ids of members, or empty. read_until_us: everything up to then is durable at the holder."""

    holder: str
    token: int
    expires_us: int
    read_until_us: int
    next: str
    next_until_us: int


@dataclass(frozen=True, slots=True)
class View:
    """The whole state at one moment of Redis' clock. settings: the stored text. born_us: when it was stored."""

    now_us: int
    settings: bytes
    born_us: int
    members: Mapping[str, MemberState]
    leases: Mapping[str, LeaseRow]

    def living(self) -> dict[str, MemberState]:
        """Return the members whose time has not expired."""
        return {name: row for name, row in self.members.items() if row.expires_us > self.now_us}

    def lease(self, slot: str) -> LeaseRow | None:
        """Return the lease of a slot while it is held, None if anyone may take it."""
        row = self.leases.get(slot)
        return row if row and row.holder and row.expires_us > self.now_us else None


class Held(NamedTuple):
    """A lease that this member holds, for renewal or release. read_until_us: 0 if unknown."""

    slot: str
    token: int
    read_until_us: int


class EntryRefused(NamedTuple):
    """The cluster rejects this member. kind: `settings`, or `name` if another member has it. theirs: the stored text."""

    kind: str
    theirs: bytes


class Beat(NamedTuple):
    """The answer to a renewal. tokens: of each lease in order, 0 for a lost lease."""

    view: View
    tokens: list[int]
    superseded: bool  # another process has this member's name now


class LeaseStep(NamedTuple):
    """A change of one slot. kind: `free`, `claim`, `hand` or `know`, see scripts.TAKE."""

    kind: str
    slot: str
    moment_us: int = 0


class StepAnswer(NamedTuple):
    """The answer to a step. answer: taken, claimed, held, free or outside. before: the id of the previous holder."""

    answer: str
    token: int
    read_until_us: int
    before: str


class Leases:
    """The scripts of one cluster, for one member. A call that raises RedisUnavailable may have been carried out all the same."""

    def __init__(self, redis: RedisCalls, cluster: str, id: str, lease_s: float) -> None:
        self._redis, self._id, self._lease_us = redis, id, round(lease_s * 1_000_000)
        self.within_s = min(lease_s / 5, LONGEST_CALL_S)
        self._tag = f"{redis.prefix}:{{cluster:{cluster}}}"
        self._keys = [f"{self._tag}:{name}" for name in ("settings", "members", "leases", "tokens")]
        self._beat, self._take, self._release, self._write, self._view = map(
            redis.script, (scripts.BEAT, scripts.TAKE, scripts.RELEASE, scripts.WRITE, scripts.LOOK))

    def beat(self, facts: MemberFacts, settings: bytes, held: Sequence[Held], floor: int, *, first: bool,
             leaving: bool) -> Beat | EntryRefused:
        """Renew the membership and the leases, and return the state afterwards. floor: the highest token known here."""
        arguments: list[Any] = [self._id, self._lease_us, floor, int(first), int(leaving), facts.instance, settings,
                                msgspec.json.encode(facts)]
        for lease in held:
            arguments += lease
        answer = self._run("cluster beat", self._beat, arguments)
        if answer[0] != b"in":
            return EntryRefused(answer[0].decode(), answer[1])
        _, now, born, superseded, tokens, members, leases = answer
        view = View(int(now), settings, int(born), _members(members), _leases(leases))
        return Beat(view, list(map(int, tokens)), bool(superseded))

    def carry_out(self, steps: Sequence[LeaseStep], floor: int) -> list[StepAnswer]:
        """Carry out steps, all at one moment; each succeeds or fails separately."""
        arguments: list[Any] = [self._id, self._lease_us, floor]
        for step in steps:
            arguments += step
        return [StepAnswer(answer.decode(), int(token), int(read), "" if before == b"-" else before.decode())
                for answer, token, read, before in self._run("cluster take", self._take, arguments)]

    def release(self, held: Sequence[Held], *, leave: bool) -> int:
        """Give up leases and, with `leave`, the membership. Return how many leases were not held any more."""
        arguments: list[Any] = [self._id, int(leave)]
        for lease in held:
            arguments += lease
        return int(self._run("cluster release", self._release, arguments))

    def write(self, slot: str, token: int, key: str, value: bytes, ttl_s: float) -> bool:
        """Store a value under the cluster's tag; return False if the token is not the newest of the slot."""
        arguments = [self._id, slot, token, max(1, round(ttl_s * 1000)), value]
        return bool(self._run("cluster write", self._write, arguments, [f"{self._tag}:{key}"]))

    def view(self) -> View:
        """Return the state without changing it."""
        seconds, us, stored, members, leases = self._run("cluster look", self._view, [])
        born, _, settings = stored.partition(b" ")
        return View(int(seconds) * 1_000_000 + int(us), settings, int(born or 0), _members(members), _leases(leases))

    def _run(self, operation: str, script: Callable[..., Any], arguments: list[Any], more_keys: Sequence[str] = ()) -> Any:
        keys = [*self._keys, *more_keys]
        return self._redis.call(operation, lambda client: script(client, keys, arguments), within_s=self.within_s)


def name_of(id: str) -> str:
    """Return the member's name in its id."""
    return id.partition("@")[0]


def _members(flat: Iterable[bytes]) -> dict[str, MemberState]:
    found = {}
    for name, row in _pairs(flat).items():
        parts = row.split(b" ", 4)
        if len(parts) == 5:
            try:
                facts = msgspec.json.decode(parts[4], type=MemberFacts)
            except msgspec.DecodeError:  # another version, with other facts
                facts = MemberFacts(member=name, host=name, address=name, instance=parts[1].decode(), version="?")
            found[name] = MemberState(parts[0].decode(), int(parts[2]), parts[3] == b"1", facts)
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
