"""Several collectors of one cluster, each with a folder of its own, that share simulated venues, Redis and a store."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Gap
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import TradeComparison, compare, names_of
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import JournalReader
from tests.app.collector import HANGS_S, CollectorProcess

SHARDS = 4


class Crew:
    """The members by name. They are started by `start` and ended with the context, whatever became of them."""

    def __init__(self, folder: Path, sim: SimProcess, redis: Sequence[str], dsn: str, **sections: Any) -> None:
        self._folder, self._sim, self._dsn = folder, sim, dsn
        self._sections: dict[str, Any] = {"redis": {"nodes": list(redis)}, "sinks": {"postgres": {"dsn": dsn}}, **sections}
        self.members: dict[str, CollectorProcess] = {}
        self.paused_ns = 0  # when trading was ended: a connection that is silent since then may become a gap
        exchanges = yaml.safe_load(sim.config_yaml())["exchanges"]
        self.shards = SHARDS * sum(part.get("enabled", True) for markets in exchanges.values() for part in markets.values())

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members.values():
            if member.child is not None and member.child.poll() is None:
                member.kill()

    def start(self, *names: str) -> None:
        """Start members, each for the first time or again on its folder."""
        for name in names:
            if name not in self.members:
                folder = self._folder / name
                folder.mkdir()
                cluster = {"name": "crew", "member": name, "shards_per_venue": SHARDS, **self._sections.get("cluster", {})}
                self.members[name] = CollectorProcess(self._sim, folder, **{**self._sections, "cluster": cluster})
            self.members[name].start()

    def held(self, name: str) -> int:
        """Return of how many shards a member has the lease and every connection is up; -1 where it has written no figures."""
        figures = self.members[name].figures()
        if not figures or not figures["cluster"]:
            return -1
        read = sum(len(row["slices_read"]) for row in figures["venues"])
        up = all(row["connections_up"] == row["connections"] and row["subscribed"] == row["instruments"]
                 for row in figures["venues"])
        return figures["cluster"]["held"] if up and read == figures["cluster"]["held"] else -1

    def wait_shared(self, names: Collection[str], within_s: float = HANGS_S) -> float:
        """Wait until these members, and no other, read every shard once; return the seconds it took."""
        began = time.monotonic()
        while True:
            held = {name: self.held(name) for name in names}
            if (min(held.values()) >= 0 and sum(held.values()) == self.shards
                    and max(held.values()) <= -(-self.shards // len(held))):
                return time.monotonic() - began
            assert time.monotonic() - began < within_s, f"{held} of {self.shards}\n" + "\n".join(
                self.members[name].log() for name in names)
            time.sleep(0.05)

    def settle(self, names: Collection[str]) -> None:
        """End trading, and wait until these members have stored everything, filled every gap, and sent it."""
        self.paused_ns = time.time_ns()
        self._sim.pause()
        for name in names:
            self.members[name].wait_until(lambda figures: figures["sinks"] and figures["sinks"][0]["state"] == "up")
            self.members[name].wait_until_idle()

        def done(figures: dict[str, Any]) -> bool:
            sink = figures["sinks"][0]
            return bool(figures["backfill"].get("looked") and not figures["backfill"]["open"] and sink["state"] == "up"
                        and not sink["backlog_trades"] and not figures["journal"]["backlog_trades"])

        for name in names:
            self.members[name].wait_until(done, 3 * HANGS_S)

    def compare(self, truth: Truth) -> TradeComparison:
        """Compare what the shared store has with every trade that the venues made."""
        catalogue = Catalogue()
        for member in self.members.values():
            JournalReader(member.data, catalogue).load_instruments()
        sink = PostgresSink(PostgresOptions(dsn=self._dsn))
        counted = compare(truth, sink.read(names_of(truth), 0, 2**62, catalogue), catalogue, made=True)
        sink.close()
        return counted

    def gaps(self, name: str) -> list[Gap]:
        """Return every gap that a member has on record."""
        ledger = Ledger(self.members[name].data, read_only=True)
        found = [gap for _, gap in ledger.gaps()]
        ledger.close()
        return found
