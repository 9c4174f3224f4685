"""Measure the cost that telling channels about listings has for their windows.

Listings come one after another, each stored in the ledger's thread as in a collector, and each is told to four channels: a
webhook, a webhook that hangs, a service of apprise, and a command. The same is done without channels, in turns, so that both see
the same machine. `store_ms` is how long a window waits for its listing to be stored, which is all that it waits for; `hub_ms` is
for how long the hub was kept from running meanwhile (see `tests.bench.archives`). `_alone` is the same without channels.
`delay_ms`: how much later a window opens, by the medians of the storing and the slowest call that leaves the news. `took_s`:
until every channel but the one that hangs has taken every message.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.config_listing import ChannelConfig
from pumpwatch.notify.channels import make_channels
from pumpwatch.notify.child import end_children
from pumpwatch.notify.events import seen
from pumpwatch.notify.notifier import Notifier
from pumpwatch.stats import Stats
from pumpwatch.store.in_thread import in_thread
from pumpwatch.store.ledger import Ledger
from tests.bench.archives import watched
from tests.notify.told import listing
from tests.notify.web_service import WebService

LISTINGS, APART_S = 10, 0.25
HANGS = "hangs"


def telling(folder: Path, rounds: int) -> dict[str, Any]:
    """Return the figures, measured in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.telling", str(folder), str(rounds)],
                          capture_output=True, text=True, check=True, timeout=1800)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@contextmanager
def services() -> Iterator[dict[str, ChannelConfig]]:
    """Run the web services in a process of their own; yield the channels."""
    with subprocess.Popen([sys.executable, "-m", "tests.bench.telling"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        good, bad = json.loads(child.stdout.readline())
        try:
            yield {"hook": ChannelConfig(webhook=f"http://{good}/", secret="hush", timeout_s=60.0),
                   HANGS: ChannelConfig(webhook=f"http://{bad}/", secret="hush", timeout_s=60.0),
                   "chat": ChannelConfig(url=f"json://{good}/", timeout_s=60.0), "program": ChannelConfig(command=["cat"])}
        finally:
            child.stdin.close()


class Run:
    """Listings that are stored and told to some channels, on a ledger of their own."""

    def __init__(self, folder: Path, channels: dict[str, ChannelConfig], count: int) -> None:
        self._ledger, self._count = Ledger(folder), count
        self._threaded = in_thread(self._ledger, ThreadPool(1))
        self._notifier = Notifier(make_channels(Config(notify=channels)), lambda: self._threaded, Clock(), Stats())
        self._parts = [gevent.spawn(body) for _, body in self._notifier.bodies()]
        self.store_ms: list[float] = []
        self.tell_us: list[float] = []
        self.took_s = self.hub_ms = 0.0

    def work(self) -> None:
        """Store and tell each listing."""
        for number in range(self._count):
            found = replace(listing(f"C{number}"), notice_id=str(number))
            before_s = time.perf_counter()
            self._threaded.remember_listing(found)
            stored_s = time.perf_counter()
            self._notifier.notify(partial(seen, found, 600.0))
            self.store_ms.append((stored_s - before_s) * 1e3)
            self.tell_us.append((time.perf_counter() - stored_s) * 1e6)
            gevent.sleep(APART_S)

    def measured(self) -> Run:
        """Do it, wait until the channels have taken the messages, and end."""
        began_s = time.perf_counter()
        self.hub_ms = watched(self.work)
        while any(row["sent"] < self._count for row in self._notifier.status() if row["name"] != HANGS):
            gevent.sleep(0.01)
        self.took_s = time.perf_counter() - began_s
        self._notifier.stop()
        end_children()
        gevent.joinall(self._parts, 60)
        self._ledger.close()
        return self


def measure(folder: Path, rounds: int, count: int = LISTINGS) -> dict[str, Any]:
    """Return the figures of so many rounds, with channels and without in turn."""
    told, alone = list[Run](), list[Run]()
    with services() as channels:
        for _ in range(rounds):
            for chosen, runs in (({}, alone), (channels, told)):
                with TemporaryDirectory(dir=folder) as place:
                    runs.append(Run(Path(place), chosen, count).measured())

    def both(name: str, figure: Any) -> dict[str, float]:
        return {f"{name}{words}": round(figure(runs), 2) for words, runs in (("", told), ("_alone", alone))}

    figures = both("store_ms", lambda runs: median(ms for run in runs for ms in run.store_ms)) \
        | both("store_worst_ms", lambda runs: max(ms for run in runs for ms in run.store_ms)) \
        | both("hub_ms", lambda runs: median(run.hub_ms for run in runs))
    return {"rounds": rounds, "listings": count, **figures, "tell_us": round(median(us for run in told for us in run.tell_us), 1),
            "tell_worst_us": round(max(us for run in told for us in run.tell_us), 1),
            "delay_ms": round(max(0.0, figures["store_ms"] - figures["store_ms_alone"])
                              + max(us for run in told for us in run.tell_us) / 1e3, 2),
            "took_s": round(median(run.took_s for run in told), 2)}


def serve() -> None:
    """Be the web services until stdin ends."""
    with WebService() as good, WebService(*["hang"] * 1000) as bad:
        print(json.dumps([good.address, bad.address]), flush=True)
        sys.stdin.read()
        os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
    else:
        serve()
