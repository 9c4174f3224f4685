"""Send a test event to every channel at once: `pumpwatch notify test`."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from gevent.threadpool import ThreadPool

from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.errors import ConfigError, UsageError
from pumpwatch.notify.channels import Channel, make_channels
from pumpwatch.notify.events import ListingUpdate, example
from pumpwatch.printable import printable

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of one channel. ms: how long it took."""

    name: str
    kind: str
    taken: bool
    reason: str
    ms: float


def try_channels(config: Config, names: Collection[str] = (), clock: Clock | None = None) -> list[Tried]:
    """Send a test event to each channel, or to the named ones; return the results in the order of the config.

    Raises ConfigError if the config has no channel or an invalid one, UsageError for an unknown name.
    """
    channels = make_channels(config)
    known = [channel.name for channel in channels]
    if not channels:
        raise ConfigError("the config names no channel", "add one in the section notify, see docs/notify.md")
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"no channel `{printable(unknown[0])}`", f"known: {', '.join(known)}")
    event = example((clock or Clock()).now_ns())
    chosen = [channel for channel in channels if not names or channel.name in names]
    threads = ThreadPool(min(AT_ONCE, len(chosen)))
    results: list[Tried] = threads.map(lambda channel: _try(channel, event), chosen)
    return results


def _try(channel: Channel, event: ListingUpdate) -> Tried:
    began_s = time.monotonic()
    sent = channel.send(event)
    return Tried(channel.name, channel.kind, sent.taken, sent.reason, round((time.monotonic() - began_s) * 1e3, 1))
