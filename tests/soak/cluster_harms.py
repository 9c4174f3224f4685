"""The harms that can befall a cluster: its members as processes, Redis before them, and the harms that are done to both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.redis_server import RedisNode, RedisNodes

HEALTHY = 5  # of ten members at least so many are not harmed at one time
KEY = "pumpwatch:{cluster:soak}:leases"


@dataclass(frozen=True, slots=True)
class Harm:
    """One harm, in ns. until_ns: when it was over; of a kill, when the process was started again, 0 while it is not."""

    kind: str
    member: str  # empty: Redis
    at_ns: int
    until_ns: int


class Relays:
    """A relay to Redis for each member, which can stop to forward."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._open: dict[str, asyncio.Event] = {}

    def add(self, name: str) -> int:
        """Start a relay and return its port."""
        return asyncio.run_coroutine_threadsafe(self._add(name), self._loop).result(10)

    async def _add(self, name: str) -> int:
        self._open[name] = asyncio.Event()
        self._open[name].set()

        async def serve(here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                there, forth = await asyncio.open_connection("127.0.0.1", self._port)
                await asyncio.gather(forward(here, forth), forward(there, back))
            back.close()

        async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while body := await source.read(65_536):
                    await self._open[name].wait()
                    target.write(body)
            target.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    def cut(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self._open[name].clear)

    def mend(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self._open[name].set)


class Members:
    """The members as processes, and everything that is done to them and to Redis, with its times."""

    def __init__(self, folder: Path, port: int, redis: RedisNode | RedisNodes, count: int, rng: random.Random) -> None:
        self._folder, self._port, self._redis, self._rng = folder, port, redis, rng
        self.names = [f"m{number}" for number in range(count)]
        self._shift = {name: rng.uniform(-4.0, 4.0) for name in self.names}
        self._relays = Relays(0 if isinstance(redis, RedisNodes) else redis.port)
        self._cuts = isinstance(redis, RedisNode)  # the nodes of a cluster are reached past any relay
        self._addresses = {name: ",".join(redis.addresses) if isinstance(redis, RedisNodes) else
                           f"127.0.0.1:{self._relays.add(name)}" for name in self.names}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.harmed: set[str] = set()
        self.harms: list[Harm] = []
        self._due: list[tuple[float, Callable[[], None]]] = []

    def start(self, name: str) -> None:
        with (self._folder / f"{name}.err").open("ab") as errors:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.cluster_member", name, str(self._folder), str(self._port),
                 self._addresses[name], str(self._shift[name])], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)

    def wait(self, seconds: float) -> None:
        """Let time pass, and end harms that are over."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for entry in [entry for entry in self._due if entry[0] <= now]:
                self._due.remove(entry)
                entry[1]()
            time.sleep(0.02)

    def harm(self) -> None:
        """Do one random harm; wait first where too many members are harmed already."""
        while len(self.names) - len(self.harmed) < HEALTHY:
            self.wait(0.1)
        kinds = [self._kill] * 7 + [self._suspend] * 4 + [self._stop] * 2 + [self._harm_redis] * 2
        if self._cuts:
            kinds += [self._cut] * 3
        self._rng.choice(kinds)()

    def end_harms(self) -> None:
        while self._due:
            self.wait(0.1)

    def stop(self) -> list[str]:
        """End every member at once; return those that did not end well."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        return [name for name, process in self._processes.items() if process.wait(60)]

    def kill_all(self) -> None:
        """End what still runs."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def _victim(self) -> str:
        name = self._rng.choice([name for name in self.names if name not in self.harmed])
        self.harmed.add(name)
        return name

    def _later(self, kind: str, name: str, at_ns: int, seconds: float, end: Callable[[], object]) -> None:
        def over() -> None:
            end()
            self.harms.append(Harm(kind, name, at_ns, time.time_ns()))
            self.harmed.discard(name)

        self._due.append((time.monotonic() + seconds, over))

    def _kill(self) -> None:
        name = self._victim()
        at_ns = time.time_ns()
        self._processes[name].kill()
        self._processes[name].wait()
        self._later("kill", name, at_ns, self._rng.choice([0.0, self._rng.uniform(0, 15)]), lambda: self.start(name))

    def _suspend(self) -> None:
        name = self._victim()
        pid, at_ns = self._processes[name].pid, time.time_ns()
        os.kill(pid, signal.SIGSTOP)
        self._later("suspend", name, at_ns, self._rng.uniform(0.5, 15), lambda: os.kill(pid, signal.SIGCONT))

    def _cut(self) -> None:
        relays, name = self._relays, self._victim()
        relays.cut(name)
        self._later("cut", name, time.time_ns(), self._rng.uniform(1, 15), lambda: relays.mend(name))

    def _stop(self) -> None:
        name = self._victim()
        process, at_ns = self._processes[name], time.time_ns()
        process.send_signal(signal.SIGTERM)

        def end() -> None:
            if process.wait(30) not in (0, -signal.SIGTERM):  # one that has just started does not listen yet
                raise AssertionError(f"{name} ended with {process.returncode}: {(self._folder / f'{name}.err').read_text()}")
            self.start(name)

        self._later("stop", name, at_ns, 13.0, end)

    def _harm_redis(self) -> None:
        at_ns, kind = time.time_ns(), self._rng.choice(["emptied", "restart", "hang"])
        seconds = self._rng.uniform(0.2, 12)
        if isinstance(self._redis, RedisNodes):
            kind = self._harm_nodes(kind, seconds)
        elif kind == "emptied":
            self._redis.client.flushall()
        elif kind == "restart":
            self._redis.kill()
            self.wait(seconds)
            self._redis.start()
        else:
            self._redis.hang()
            self.wait(seconds)
            self._redis.unhang()
        self.harms.append(Harm(f"redis {kind}", "", at_ns, time.time_ns()))

    def _harm_nodes(self, kind: str, seconds: float) -> str:
        assert isinstance(self._redis, RedisNodes)
        nodes = self._redis
        if kind == "emptied":
            nodes.flush()
        elif kind == "restart":
            nodes.stop_all()
            self.wait(seconds)
            nodes.start_all()
        else:
            kind, old = "fail-over", nodes.master_of(KEY)
            old.kill()
            nodes.wait_for_fail_over(KEY, old)
            self.wait(2.0)
            nodes.start_all()
        return kind
