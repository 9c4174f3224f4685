"""What the feeds of all venues share, grouped: access to the network, and the rest of the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.feeds.rate_limits import VenueRateLimits
from pumpwatch.feeds.silent_symbols import LastTimes
from pumpwatch.instruments.symbols_file import SymbolsFile
from pumpwatch.net.http import Http
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer
from pumpwatch.records import Records
from pumpwatch.stats import Stats


@dataclass(frozen=True, slots=True)
class Network:
    """How venues are reached: REST, WebSocket connections, the sweep that reads them, and the venues' limits."""

    http: Http
    dialer: Dialer
    sweep: Sweep
    limits: VenueRateLimits
    max_frame_bytes: int


@dataclass(frozen=True, slots=True)
class Process:
    """The parts of the running process that feeds work with.

    record: stores records durably. spawn: starts a supervised greenlet by name. refresh_s: between two instrument lists.
    """

    clock: Clock
    stats: Stats
    catalogue: Catalogue
    symbols_file: SymbolsFile
    record: Callable[[Records], None]
    spawn: Callable[[str, Callable[[], None]], None]
    last_times: LastTimes
    refresh_s: float
