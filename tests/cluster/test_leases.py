"""The lease scripts, on a real Redis, do what a plain model says, and keep their promises whatever happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pumpwatch.cluster.facts import MemberFacts, SharedSettings
from pumpwatch.cluster.leases import Beat, EntryRefused, Held, Leases, LeaseStep, View
from tests.cluster.asking import AskedDirectly
from tests.redis_server import RedisNode, single

S = 1_000_000
LEASE = 5 * S
START = 1_800_000_000 * S
EXAMPLES = int(os.environ.get("LEASE_EXAMPLES", "12"))  # by hand: 1,000
SLOTS = ("venue.spot/0#0", "venue.spot/1#0", "leader")
SETTINGS = SharedSettings(shards_per_venue=2, replicas=1, venues=("venue.spot",))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisNode]:
    with single() as node:
        yield node


@pytest.fixture
def asked(server: RedisNode) -> Iterator[AskedDirectly]:
    found = AskedDirectly(server.port)
    found.lose_everything(START)
    yield found
    found.client.close()


def facts(name: str, instance: str = "") -> MemberFacts:
    return MemberFacts(member=name, host=f"host-{name}", address=name, instance=instance or name, version="1")


class Process:
    """One process of a member: what it knows by itself. Its clock is Redis' own here."""

    def __init__(self, asked: AskedDirectly, name: str, number: int = 1, instance: str = "", lease_s: float = 5.0) -> None:
        self.name, self.id = name, f"{name}@{number}"
        self.facts = facts(name, instance)
        self.leases = Leases(asked, "test", self.id, lease_s)
        self.tokens: dict[str, int] = {}
        self.until: dict[str, int] = {}
        self.first = True

    def beat(self, now: int, read_until: int = 0, text: SharedSettings = SETTINGS) -> Beat | EntryRefused:
        held = [Held(slot, token, read_until) for slot, token in self.tokens.items()]
        answer = self.leases.beat(self.facts, text.encoded(), held, max(self.tokens.values(), default=0), first=self.first,
                                  leaving=False)
        if isinstance(answer, Beat):
            self.first = False
            for lease, token in zip(held, answer.tokens, strict=True):
                self.know(lease.slot, token, now)
        return answer

    def know(self, slot: str, token: int, now: int) -> None:
        if token:
            self.tokens[slot], self.until[slot] = token, now + LEASE
        else:
            self.tokens.pop(slot, None)

    def step(self, kind: str, slot: str, now: int, moment: int = 0) -> str:
        answer, = self.leases.carry_out([LeaseStep(kind, slot, moment)], max(self.tokens.values(), default=0))
        if answer.answer == "taken":
            self.know(slot, answer.token, now)
        return answer.answer

    def view(self) -> View:
        return self.leases.view()


class Known(NamedTuple):
    """A lease in the model."""

    holder: str
    token: int
    expires: int
    read: int
    next: str
    next_until: int


class Cluster(RuleBasedStateMachine):
    """Members do anything at any time, their state in Redis is lost or goes back, and the model is never surprised."""

    processes = Bundle("processes")
    asked: AskedDirectly

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.asked.lose_everything(self.now)
        self.leases: dict[str, Known] = {}
        self.expires: dict[str, int] = {}  # of members that are in, by id
        self.granted: list[int] = []
        self.all: list[Process] = []
        self.saved: tuple[dict[str, Known], dict[str, int], dict[str, bytes]] | None = None
        self.lost_at = 0  # when Redis last forgot something

    @initialize(target=processes, count=st.just(3))
    def start(self, count: int) -> object:
        self.all = [Process(self.asked, name) for name in "abc"[:count]]
        return self.all[0]

    @rule(target=processes, index=st.integers(0, 2))
    def another(self, index: int) -> Process:
        return self.all[index]

    def tick(self, us: int = 1000) -> None:
        self.now += us
        self.asked.set_clock(self.now)

    @rule(us=st.sampled_from([S // 2, S, 2 * S, 4 * S, 6 * S]))
    def time_goes_on(self, us: int) -> None:
        self.tick(us)

    def grant(self, slot: str, process: Process, token: int, read: int) -> None:
        assert token > max(self.granted, default=0), "a token was given twice, or one went back"
        self.granted.append(token)
        self.leases[slot] = Known(process.id, token, self.now + LEASE, read, "", 0)

    @rule(process=processes, behind=st.integers(0, 3 * S))
    def beat(self, process: Process, behind: int) -> None:
        self.tick()
        before, read = dict(process.tokens), self.now - behind
        answer = process.beat(self.now, read)
        assert isinstance(answer, Beat)
        assert not answer.superseded
        self.expires[process.id] = self.now + LEASE
        for (slot, token), found in zip(before.items(), answer.tokens, strict=True):
            lease = self.leases.get(slot)
            if lease is None:
                self.grant(slot, process, found, read)
            elif lease.token == token and lease.holder == process.id:
                assert found == token
                self.leases[slot] = lease._replace(expires=self.now + LEASE, read=max(lease.read, read))
            elif lease.token < token:  # Redis went back to an older state
                assert found == token
                self.leases[slot] = Known(process.id, token, self.now + LEASE, max(lease.read, read), "", 0)
            else:
                assert found == 0

    @rule(process=processes, slot=st.sampled_from(SLOTS))
    def take_what_is_free(self, process: Process, slot: str) -> None:
        self.tick()
        lease = self.leases.get(slot)
        free = lease is None or lease.expires <= self.now
        answer = process.step("free", slot, self.now)
        if not self.inside(process):
            assert answer == "outside"
        elif free:
            assert answer == "taken"
            self.grant(slot, process, process.tokens[slot], lease.read if lease else 0)
        else:
            assert answer == "held"

    @rule(process=processes, slot=st.sampled_from(SLOTS[:2]))
    def claim(self, process: Process, slot: str) -> None:
        self.tick()
        lease = self.leases.get(slot)
        answer = process.step("claim", slot, self.now)
        if not self.inside(process):
            assert answer == "outside"
        elif lease is None or lease.expires <= self.now:
            assert answer == "free"
        elif lease.holder != process.id and (lease.next in ("", process.id) or lease.next_until <= self.now):
            assert answer == "claimed"
            self.leases[slot] = lease._replace(next=process.id, next_until=self.now + LEASE)
        else:
            assert answer == "held"

    @rule(process=processes, slot=st.sampled_from(SLOTS[:2]), ago=st.integers(0, 5 * S))
    def take_as_the_next_reader(self, process: Process, slot: str, ago: int) -> None:
        self.tick()
        lease, since = self.leases.get(slot), self.now - ago
        answer = process.step("hand", slot, self.now, since)
        if not self.inside(process):
            assert answer == "outside"
        elif lease is None or lease.expires <= self.now:
            assert answer == "free"
        elif lease.next == process.id and lease.next_until > self.now and lease.read >= since:
            assert answer == "taken"
            self.grant(slot, process, process.tokens[slot], lease.read)
        else:
            assert answer == "held"

    @rule(process=processes, slot=st.sampled_from(SLOTS[:2]), ago=st.integers(0, 5 * S))
    def tell_what_redis_may_not_know(self, process: Process, slot: str, ago: int) -> None:
        self.tick()
        lease, until = self.leases.get(slot), self.now - ago
        answer = process.step("know", slot, self.now, until)
        assert answer == ("held" if self.inside(process) else "outside")
        if self.inside(process):
            if lease is None:
                self.leases[slot] = Known("", 0, 0, until, "", 0)
            elif not lease.read or not lease.holder:
                self.leases[slot] = lease._replace(read=max(lease.read, until))

    @rule(process=processes, slot=st.sampled_from(SLOTS))
    def release(self, process: Process, slot: str) -> None:
        self.tick()
        if slot not in process.tokens:
            return
        lease, token = self.leases.get(slot), process.tokens.pop(slot)
        late = process.leases.release([Held(slot, token, 0)], leave=False)
        assert late == int(lease is not None and (lease.holder, lease.token) != (process.id, token))
        if lease and not late:
            self.leases[slot] = lease._replace(holder="", expires=0)

    @rule(process=processes, slot=st.sampled_from(SLOTS))
    def write(self, process: Process, slot: str) -> None:
        self.tick()
        lease, token = self.leases.get(slot), process.tokens.get(slot, 1)
        written = process.leases.write(slot, token, "note", process.id.encode(), 60.0)
        assert written == (lease is not None and (lease.holder, lease.token) == (process.id, token) and lease.expires > self.now)

    @rule()
    def redis_is_emptied(self) -> None:
        self.tick()
        self.asked.lose_everything(self.now)
        self.leases, self.expires, self.lost_at = {}, {}, self.now

    @rule()
    def a_replica_copies(self) -> None:
        keys = self.asked.client.keys("test:*")
        self.saved = dict(self.leases), dict(self.expires), {key: self.asked.client.dump(key) for key in keys}

    @precondition(lambda self: self.saved)
    @rule()
    def the_replica_takes_over(self) -> None:
        """What was written since it copied is lost."""
        assert self.saved
        self.tick()
        self.leases, self.expires, dumped = dict(self.saved[0]), dict(self.saved[1]), self.saved[2]
        self.asked.lose_everything(self.now)
        for key, value in dumped.items():
            self.asked.client.restore(key, 0, value)
        self.lost_at = self.now

    def inside(self, process: Process) -> bool:
        return self.expires.get(process.id, 0) > self.now

    @invariant()
    def redis_is_as_the_model(self) -> None:
        if self.all:
            found = self.all[0].view().leases
            assert found == {slot: (*lease,) for slot, lease in self.leases.items()}

    @invariant()
    def no_two_believe_to_have_a_role(self) -> None:
        """A role is never handed over, so its holder's own time is over before another one gets it; unless Redis forgets."""
        holders = [process.id for process in self.all if "leader" in process.tokens and process.until["leader"] > self.now]
        assert len(holders) <= 1 or self.now - self.lost_at < LEASE

    @invariant()
    def no_two_have_one_token(self) -> None:
        tokens = [(slot, token) for process in self.all for slot, token in process.tokens.items()]
        assert len(set(tokens)) == len(tokens)


def test_the_scripts_behave_like_the_model(server: RedisNode) -> None:
    with ExitStack() as stack:
        asked = AskedDirectly(server.port)
        stack.callback(asked.client.close)
        machine = type("OnThisServer", (Cluster,), {"asked": asked})
        run_state_machine_as_test(machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=30))


def test_a_long_lease_does_not_mean_long_waits_for_redis(asked: AskedDirectly) -> None:
    assert [Leases(asked, "crew", "a@1", lease_s).within_s for lease_s in (1.0, 5.0, 60.0)] == [0.2, 1.0, 2.0]
