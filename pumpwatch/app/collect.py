"""Run a collector from its start to its end: the body of `pumpwatch collect`."""

from __future__ import annotations

from collections.abc import Callable

from pumpwatch.app.collector import Collector
from pumpwatch.app.garbage import search_rarely
from pumpwatch.config import Config
from pumpwatch.errors import EXIT_OK
from pumpwatch.ops.memory_watch import share_heap
from pumpwatch.ops.service_manager import notify


def collect(config: Config, replace_within_s: float = 0.0, on_ready: Callable[[], None] = lambda: None,
            reread: tuple[Config, Callable[[], Config]] | None = None) -> int:
    """Run a collector until it is asked to stop; return the exit code. Everything received is then durable.

    replace_within_s: take over from the collector on the same folder within this time; 0: do not take over. `on_ready` is called
    once it records. reread: the config as it was read, and a function that reads it again on SIGHUP. Raises ConfigError, after
    the same orderly end, if a person must repair a sink, and ServiceUnavailable or StorageError if it cannot start or take over.
    """
    share_heap()
    collector = Collector(config)
    if reread is not None:
        collector.reload_on_hangup(*reread)
    if replace_within_s:
        collector.replace(replace_within_s)
    else:
        collector.start()
    search_rarely()
    notify("READY=1")
    on_ready()
    code = EXIT_OK
    try:
        collector.wait()
    finally:
        code = collector.stop()
    return code
