"""Read the config again while collecting, on SIGHUP, and apply what can change at run time.

Log levels and format, channels, windows of listings, retention, disks and memory change at once. One warning names every other
changed key, which changes at the next start. An invalid config changes nothing.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import msgspec
from gevent.event import Event

from pumpwatch.app.parts import CollectorParts
from pumpwatch.app.retaining import Retaining
from pumpwatch.config import Config, Keys
from pumpwatch.errors import PumpWatchError
from pumpwatch.listing.context import reaches_of
from pumpwatch.listing.window import WindowKeeper
from pumpwatch.notify.channels import make_channels
from pumpwatch.ops.logs import set_up

log = logging.getLogger(__name__)

LOG_KEYS = ("level", "levels", "format", "folder", "file_mb", "file_hours", "files")
APPLIED = {
    "log": LOG_KEYS, "store": ("retention_hours", "max_bytes"), "listing": ("before_s", "after_s", "longer_windows"),
    "disk": (), "memory": (), "notify": (),  # without keys: all of them
}


class Reloading:
    """Applies the config that `read` returns. `first`: the config of the collector's start, as it was read."""

    def __init__(self, collector: CollectorParts, first: Config, read: Callable[[], Config]) -> None:
        self._collector, self._last, self._read = collector, first, read
        self._wake = Event()
        self.retaining: Callable[[], Retaining | None] = lambda: None
        self.windows: Callable[[], WindowKeeper | None] = lambda: None

    def watch_signal(self, hung_up: Callable[[], None]) -> None:
        """Apply the config after each SIGHUP; if it came because the terminal is gone, call `hung_up` instead."""
        terminal = os.isatty(2)

        def on_signal() -> None:
            if terminal and not _terminal_is_there():
                hung_up()
            else:
                self._wake.set()

        gevent.signal_handler(signal.SIGHUP, on_signal)

    def run(self) -> None:
        """Apply the config after each signal. This is the body of a greenlet."""
        while True:
            self._wake.wait()
            self._wake.clear()
            self.reload()

    def reload(self) -> None:
        """Read the config and apply it, or log why it was rejected."""
        try:
            config = self._collector.memory_thread.apply(self._read)
            changed = list(changed_keys(self._last, config))
            self._apply(config, {key.partition(".")[0] for key in changed if is_applied(key)})
        except PumpWatchError as error:
            log.error("config rejected, the one before stays reason=%s", " ".join(filter(None, (error.message, error.hint))))
            return
        later = [key for key in changed if not is_applied(key)]
        if later:
            log.warning("config read again, these keys change at the next start keys=%s", ", ".join(later))
        log.info("config read again changed=%s", ", ".join(key for key in changed if is_applied(key)) or "nothing")
        self._last = config

    def _apply(self, config: Config, sections: set[str]) -> None:
        """Apply the sections that have changed, first those that may raise."""
        own, collector = self._collector.config, self._collector
        make_channels(config)
        if "log" in sections:
            set_up(config.log)
            own.log = msgspec.structs.replace(own.log, **{key: getattr(config.log, key) for key in LOG_KEYS})
        if "notify" in sections:
            collector.notifying.replace_channels(config)
            own.notify = config.notify
        for section, keys in APPLIED.items():
            if section in sections and keys and section != "log":
                for key in keys:
                    setattr(getattr(own, section), key, getattr(getattr(config, section), key))
        own.disk, own.memory = config.disk, config.memory
        collector.memory.options_changed(config.memory)
        if (retaining := self.retaining()) is not None:
            retaining.options_changed(own)
        if "listing" in sections and (windows := self.windows()) is not None:
            windows.change_reaches(reaches_of(own.listing))


def _terminal_is_there() -> bool:
    try:
        os.tcgetpgrp(2)
    except OSError:
        return False
    return True


def is_applied(key: str) -> bool:
    """Return whether a key such as `store.dir` can change at run time."""
    section, _, rest = key.partition(".")
    keys = APPLIED.get(section)
    return keys is not None and (not keys or rest.partition(".")[0] in keys)


def changed_keys(old: Keys, new: Keys) -> Iterator[str]:
    """Yield the path of each key whose value differs."""
    names = [field.name for field in msgspec.structs.fields(Keys)]
    yield from _differences({name: msgspec.to_builtins(getattr(old, name)) for name in names},
                            {name: msgspec.to_builtins(getattr(new, name)) for name in names}, "")


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict) and (old.keys() | new.keys()):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield path
