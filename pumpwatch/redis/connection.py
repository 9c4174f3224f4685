"""Calls Redis in threads with a time limit, and fails at once while Redis is away.

Only the calling greenlet waits. Each thread has its own client: threads share no socket and no lock. A separate thread watches
the nodes (`node_watch`), so that no caller waits for a node that is away.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import gevent
from gevent.event import Event
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from pumpwatch.config_redis import RedisConfig
from pumpwatch.errors import ConfigError
from pumpwatch.redis.errors import OF_THE_COMMAND, REJECTIONS, RedisUnavailable, explain
from pumpwatch.redis.node_watch import NodeWatch
from pumpwatch.redis.subscription import Subscription
from pumpwatch.stats import Stats
from pumpwatch.store.sink_calls import SinkCalls

if TYPE_CHECKING:
    from pumpwatch.redis.clients import AwayNodes

T = TypeVar("T")
Client: TypeAlias = Any  # a redis.Redis or a redis.RedisCluster of the calling thread

log = logging.getLogger(__name__)

WITHIN_S = 0.05  # an answer that takes longer is worth less than local state
THREADS = 4  # for calls; a node that hangs blocks one for clients.ANSWER_S
LOG_AGAIN_S = 3600.0  # each kind of rejection is logged at most this often
QUEUED = 10_000  # waiting posts; beyond that the oldest is dropped
_thread_id, _thread_local = get_original("_thread", "get_ident"), get_original("_thread", "_local")  # of native threads
_sleep = get_original("time", "sleep")


def require_library() -> None:
    """Raise ConfigError if the client library is missing."""
    if importlib.util.find_spec("redis") is None:
        raise ConfigError("redis.nodes: the Python package `redis` is missing", "run: pip install 'pumpwatch[redis]'")


def connection_of(config: RedisConfig, stats: Stats | None = None, *, quiet: bool = False) -> RedisConnection | None:
    """Return a connection, or None if the config names no node. Raises ConfigError if the library is missing."""
    return RedisConnection(config, stats, quiet=quiet) if config.nodes else None


class Script:
    """A Lua script: sent once to each node, then named by its hash. Keys must have one hash tag."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: Client, keys: Sequence[str | bytes], arguments: Sequence[Any] = ()) -> Any:
        """Run the script inside a function passed to `call` or `post`; return Redis' answer (bytes, ints, lists, None)."""
        from redis.exceptions import NoScriptError

        try:
            return client.evalsha(self._sha, len(keys), *keys, *arguments)
        except NoScriptError:  # a new master, or a server that was emptied
            return client.eval(self.source, len(keys), *keys, *arguments)


class RedisConnection:
    """The connection of one process. The constructor does not connect. A call blocks its greenlet, or a thread without the hub.

    A failed call may have been carried out, because Redis may have answered too late.
    """

    def __init__(self, config: RedisConfig, stats: Stats | None = None, *, quiet: bool = False) -> None:
        """quiet: log no change of state, for a command that reports itself that Redis is away."""
        require_library()
        from pumpwatch.redis.clients import AwayNodes, connection_class

        connection_class(config)  # raises an error now if the certificates cannot be read
        self.config, self.prefix, self.within_s = config, config.prefix, WITHIN_S
        self._stats, self._calls = stats or Stats(), SinkCalls()
        self._hub, self._home = gevent.get_hub(), _thread_id()
        self._away: AwayNodes = AwayNodes()
        self._watch, self._first_look = NodeWatch(config, self._away, self._looked, quiet=quiet), Event()
        self._started = self._closed = False
        self._was_up = True
        self._threads, self._poster_thread = ThreadPool(THREADS), ThreadPool(1)
        self._own = _thread_local()  # a thread's client, and the version of the map that it knows
        self._posts: deque[tuple[str, Callable[[Client], object]]] = deque()
        self._poster: gevent.Greenlet[[], None] | None = None
        self._subscriptions: list[Subscription] = []
        self._errors: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._log_at: dict[str, float] = {}  # kind of rejection -> when it may be logged again
        self._counting = threading.Lock()

    @property
    def up(self) -> bool:
        """Return whether every master answered when it was last asked."""
        return not self.trouble

    @property
    def trouble(self) -> str:
        """Return why Redis or a part of it is away; empty if every master answers."""
        return self._watch.trouble.message if self._watch.trouble else self._watch.partial

    @property
    def is_cluster(self) -> bool:
        return self._watch.cluster

    @property
    def server_version(self) -> str:
        """Return the server's version, empty before the first answer."""
        return self._watch.version

    @property
    def masters(self) -> list[tuple[str, int]]:
        """Return host and port of each master."""
        return list(self._watch.masters)

    def connect(self, within_s: float = 2.0) -> bool:
        """Wait until the nodes have been asked once, for a command that ends soon. Returns `up`."""
        self._start()
        self._first_look.wait(within_s)
        return self.up

    def call(self, operation: str, function: Callable[[Client], T], within_s: float | None = None) -> T:
        """Return `function(client)`, run in a thread; the calling greenlet waits for at most `within_s`, WITHIN_S by default.

        Raises RedisUnavailable: at once while Redis is away, otherwise if it is late, does not answer, or rejects a command.
        Other errors of the function come through. On another thread than the hub's the function runs in that thread, for as long
        as the library waits.
        """
        self._start()
        within_s = self.within_s if within_s is None else within_s
        if not self._first_look.is_set():
            began = time.monotonic()
            self._first_look.wait(within_s)
            within_s = max(0.001, within_s - (time.monotonic() - began))
        try:
            if self._closed:
                raise RedisUnavailable("redis: the connection was closed", "away")
            if self._watch.trouble:
                raise RedisUnavailable(f"redis: {self._watch.trouble.message}", "away")
            answer = (self._run(operation, function) if _thread_id() != self._home
                      else self._run_within(within_s, operation, function))
            if isinstance(answer, RedisUnavailable):
                raise answer
            return answer
        except RedisUnavailable as error:
            self._failed(error)
            raise

    def _failed(self, error: RedisUnavailable) -> None:
        now = time.monotonic()
        with self._counting:
            self._errors[error.kind] += 1
            logs = error.kind in REJECTIONS and now >= self._log_at.get(error.kind, 0.0)
            if logs:
                self._log_at[error.kind] = now + LOG_AGAIN_S
        if logs:
            log.warning("redis rejects commands, local state answers instead reason=%s", error.message)

    def post(self, operation: str, function: Callable[[Client], object]) -> None:
        """Run `function(client)` soon, in the order of posts. Never waits, never raises; dropped and failed posts are counted."""
        self._start()
        if self._closed or (self._watch.looked and self._watch.trouble):
            self.count("dropped")
            return
        if len(self._posts) >= QUEUED:
            self._posts.popleft()
            self.count("dropped")
        self._posts.append((operation, function))
        if self._poster is None or self._poster.dead:
            self._poster = gevent.spawn(self._post_all)

    def script(self, source: str) -> Script:
        """Return a script to be run inside functions: `script(client, keys, arguments)`."""
        return Script(source)

    def listen(self, channel: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None] | None = None) -> Subscription:
        """Call `on_message(body)` on the hub for each message of a channel, until the returned subscription is closed.

        A subscription renews itself after a break. It then calls `on_gap()`, because messages were missed, and does so at the
        first subscription too.
        """
        self._start()
        subscription = Subscription(self.config, self._watch, channel, on_message, on_gap)
        self._subscriptions.append(subscription)
        subscription.start()
        return subscription

    def publish(self, channel: str, body: bytes) -> None:
        """Send a message to every listener of a channel. Never waits, never raises."""
        self.post("publish", lambda client: self.send_message(client, channel, body))

    def send_message(self, client: Client, channel: str, body: bytes) -> None:
        """Publish inside a function passed to `call` or `post`."""
        if self._watch.sharded:
            client.execute_command("SPUBLISH", channel, body)
        else:
            client.publish(channel, body)

    def count(self, name: str, amount: int = 1) -> None:
        """Count `hits`, `misses` and the like for `figures`. Any thread may call it."""
        with self._counting:
            self._counts[name] += amount

    def figures(self) -> dict[str, Any]:
        """Return figures about the calls and their results.

        Keys: up, trouble, cluster, version, masters, calls (rows of SinkCalls), errors (count by kind), counts (hits, misses,
        dropped and others), connections (open ones), threads (of calls), busy, queued, failed_looks (since the last look at which
        every master answered).
        """
        with self._counting:
            errors, counts, calls = dict(self._errors), dict(self._counts), self._calls.rows()
        return {"up": self.up, "trouble": self.trouble, "cluster": self.is_cluster, "version": self.server_version,
                "masters": [f"{host}:{port}" for host, port in self.masters], "calls": calls, "errors": errors,
                "counts": counts, "connections": self._away.sockets.count(), "threads": THREADS,
                "busy": sum(row["running"] for row in calls), "queued": len(self._posts),
                "failed_looks": self._watch.failed_looks}

    def close(self) -> None:
        """End threads and connections. Waiting posts are sent first, for at most half a second."""
        if self._closed:
            return
        if self._poster:
            self._poster.join(timeout=0.5)
        self._closed = True
        self._watch.stop()
        for subscription in self._subscriptions:
            subscription.close()
        leaving = gevent.spawn(lambda: gevent.wait([pool.spawn(self._leave) for pool in (
            self._poster_thread, *[self._threads] * THREADS)]))
        leaving.join(timeout=1.0)  # a thread may wait for a node that hangs
        self._threads.kill()
        self._poster_thread.kill()

    def _leave(self) -> None:
        """Close the calling thread's client: in a patched process its sockets belong to the thread."""
        client, self._own.client = getattr(self._own, "client", None), None
        if client is not None:
            client.close()
        _sleep(0.01)  # so that each thread of the pool takes one of these

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._watch.start()

    def _looked(self) -> None:
        """Wake the callers that wait for the first look, and count a change; called in the watch's thread."""
        if self._closed:
            return
        if not self._first_look.is_set():
            self._hub.loop.run_callback_threadsafe(gevent.spawn, self._warm_up)
        if self._was_up and not self.up:
            self._hub.loop.run_callback_threadsafe(self._stats.add, "redis_away_total")
        self._was_up = self.up

    def _warm_up(self) -> None:
        """Make one thread's client before the first call, which would otherwise be late."""
        if not self._watch.trouble:
            self._threads.apply(self._run, ("connect", lambda client: None))
        self._first_look.set()

    def _run_within(self, within_s: float, operation: str, function: Callable[[Client], T]) -> T | RedisUnavailable:
        """Run a function in a thread of the pool; a result after `within_s` is discarded."""
        with gevent.Timeout(within_s) as timeout:
            try:
                return cast("T | RedisUnavailable", self._threads.apply(self._run, (operation, function)))
            except gevent.Timeout as late:
                if late is not timeout:
                    raise
        self._watch.look_now()
        return RedisUnavailable(f"redis: {operation} took longer than {within_s * 1000:.3g} ms", "late")

    def _run(self, operation: str, function: Callable[[Client], T]) -> T | RedisUnavailable:
        """Run a function with the calling thread's client. Returns an error, because the hub would print one that is raised."""
        from pumpwatch.redis.clients import FAILURES

        try:
            return cast(T, self._calls.timed(operation, lambda: function(self._client()))())
        except FAILURES as error:
            meaning = explain(error)
            if meaning.kind not in OF_THE_COMMAND:
                self._blame(error, meaning)
            return RedisUnavailable(f"redis: {operation}: {meaning.message}", meaning.kind)

    def _blame(self, error: Any, meaning: RedisUnavailable) -> None:
        """Remember the node that failed, so that no call waits for it before the watch has seen it answer."""
        node = getattr(error, "connection", None)
        address = (getattr(node, "host", ""), getattr(node, "port", 0))
        if meaning.kind == "timeout" and address in self._watch.known:
            self._away.reasons = {**self._away.reasons, address: meaning.message}
        self._watch.look_now()

    def _client(self) -> Client:
        """Return the client of the calling thread, with the current slot map."""
        from pumpwatch.redis.clients import cluster_client, node_client

        version, known = self._away.version, self._watch.known
        single = None if self._watch.cluster else known[0]
        client = getattr(self._own, "client", None)
        if client is not None and self._own.single != single:  # another server, or a cluster now
            self._own.client = None
            client.close()
            client = None
        if client is None:
            client = (cluster_client(self.config, known, self._away) if single is None
                      else node_client(self.config, single, sockets=self._away.sockets))
        elif self._own.version != version and single is None:
            client.nodes_manager.initialize()
        self._own.client, self._own.version, self._own.single = client, version, single
        return client

    def _post_all(self) -> None:
        """Run the posts, one after the other."""
        self._first_look.wait()
        while self._posts and not self._closed:
            if self._watch.trouble:
                self.count("dropped", len(self._posts))
                self._posts.clear()
                return
            operation, function = self._posts.popleft()
            answer = self._poster_thread.apply(self._run, (operation, function))
            if isinstance(answer, RedisUnavailable):
                self.count("dropped")
                self._failed(answer)
