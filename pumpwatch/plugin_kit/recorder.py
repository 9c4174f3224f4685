"""Record what a real venue sends and answers, into files that `plugins check` and a plugin's own tests read.

One folder a venue: `frames.jsonl` (each frame as it came), `instruments.N.json` (the pages of its list), and
`history.SYMBOL.json` of the symbols that traded most while frames were recorded, asked for at the end, so that the same
trades are in both. All of it goes through the collector's own connection, within the venue's limits.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

import gevent
from gevent.event import Event

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config, VenueConfig
from pumpwatch.errors import REFUSALS, ServiceUnavailable, UsageError
from pumpwatch.feeds.rate_limits import VenueRateLimits
from pumpwatch.feeds.session import FeedContext, FeedSession
from pumpwatch.instruments.lists import fetch_instruments, fetch_volumes
from pumpwatch.model import Columns, HistoryQuery, HttpRequest, Venue
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.http import Http
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer, tls_context
from pumpwatch.plugin_kit.check_recorded import RecordedFrames, history_body, read_body
from pumpwatch.plugin_kit.samples import HistoryBody, read_frames
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.plugins import load_plugins
from pumpwatch.stats import Stats

FRAMES, INSTRUMENTS, HISTORY = "frames.jsonl", "instruments.{}.json", "history.{}.json"
HISTORIES = 3
STEP_S = 0.01
STANDS_WITHIN_S = 30.0


@dataclass(slots=True)
class Recording:
    """What was written of one venue."""

    venue: str
    folder: Path
    frames: int = 0
    trades: int = 0
    instruments: int = 0
    histories: list[str] = field(default_factory=list)  # symbols
    problem: str = ""  # why it is not all there


class VenueRecorder:
    """Records one venue; `run` blocks its greenlet until the time is up."""

    def __init__(self, venue: Venue, options: VenueConfig, config: Config) -> None:
        self._venue, self._clock, stats = venue, Clock(), Stats()
        context = tls_context(config.net.ca_file)
        http = Http(context, config.net.connect_timeout_s, config.net.proxy)
        paces, rest_url = VenueRateLimits(self._clock), options.rest_url or venue.rest_url
        budget = paces.requests(venue)
        self._buffer = FrameBuffer()
        self._sweep = Sweep(self._clock, stats, STEP_S, STEP_S, config.net.max_pending_bytes)
        self._rejected: list[str] = []
        self._around = FeedContext(
            venue, options.ws_url or venue.ws_url, Dialer(context, config.net.connect_timeout_s, config.net.proxy), self._sweep,
            self._buffer, paces.connects(venue), lambda request: http.ask(rest_url, request, venue.headers, budget), self._clock,
            stats, config.net.max_frame_bytes, lambda records: None,
            lambda number, symbol, reason: self._rejected.append(f"{symbol}: {reason}"), lambda number, symbols, reason: None)

    def run(self, folder: Path, seconds: float, symbols: int) -> Recording:
        """Record into a folder, which is made; what the venue does not give is named in `problem`."""
        made = Recording(self._venue.name, folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            chosen = self._instruments(made, symbols)
            began_ns = self._clock.now_ns()
            traded = self._frames(made, chosen, seconds)
            if self._venue.history.rows_per_request:
                self._history(made, traded, began_ns)
        except ServiceUnavailable as error:
            made.problem = error.message
        return made

    def _instruments(self, made: Recording, symbols: int) -> list[str]:
        """Write the pages of the list; return the symbols that trade most."""
        pages: list[bytes] = []
        try:
            listed = fetch_instruments(self._venue, self._around.ask, pages=pages)
        finally:  # a list that the plugin cannot read is the one that its author wants to see
            for number, page in enumerate(pages, 1):
                (made.folder / INSTRUMENTS.format(number)).write_bytes(page)
        made.instruments = len(listed)
        volumes = {one.symbol: one.volume for one in listed}
        if self._venue.volumes is not None:
            try:
                volumes |= fetch_volumes(self._venue.volumes, self._around.ask)
            except ServiceUnavailable as error:
                made.problem = f"volumes: {error.message}"
        known = [one.symbol for one in listed]
        most = min(symbols, self._venue.limits.symbols_per_connection)
        return sorted(known, key=lambda symbol: -volumes.get(symbol, 0.0))[:most]

    def _frames(self, made: Recording, symbols: list[str], seconds: float) -> Counter[str]:
        """Subscribe, and write every frame; return how often each symbol traded."""
        link = FeedSession(self._around, 0, set(), Event())
        link.subscriptions.want(symbols, add=True)
        self._sweep.add(link.connection)
        traded: Counter[str] = Counter()
        until, stands = self._clock.monotonic() + STANDS_WITHIN_S, False
        try:
            with (made.folder / FRAMES).open("wb") as file:
                while (now := self._clock.monotonic()) < until:
                    if not stands and link.greeted and link.subscriptions.settled:
                        stands, until = True, now + seconds
                    link.serve(now)
                    self._sweep.once()
                    for frame in self._arrived():
                        file.write((frame if b"\n" not in frame and frame.strip() == frame and frame
                                    else json.dumps({"raw": frame.decode("utf-8", "replace")}).encode()) + b"\n")
                        made.frames += 1
                        traded.update(self._read(link, frame))
                    if problem := link.problem(now, STANDS_WITHIN_S + seconds):
                        raise ServiceUnavailable(f"the connection ended: {problem}")
                    gevent.sleep(STEP_S)
        finally:
            self._sweep.remove(link.connection)
            link.connection.close("recorded")
        made.trades = traded.total()
        if not stands:
            raise ServiceUnavailable(f"the venue did not acknowledge all of {len(symbols)} symbols; "
                                     f"rejected: {self._rejected[:3] or 'none'}")
        return traded

    def _arrived(self) -> Iterator[bytes]:
        frames = self._buffer.take_frames()
        for number in range(len(frames) if frames is not None else 0):
            assert frames is not None
            yield frames.payload(number)

    def _read(self, link: FeedSession, frame: bytes) -> list[str]:
        """Return the symbols of a frame's trades, one a trade; hand on what is control."""
        columns = Columns()
        if attempt(self._venue.parse, b"[" + frame + b"]", columns).error is None:
            return [symbol for symbol in columns.symbol if isinstance(symbol, str)]
        control = attempt(self._venue.read_control, frame).value
        if control is not None:
            link.receive_control(control)
        return []

    def _history(self, made: Recording, traded: Counter[str], began_ns: int) -> None:
        """Write the histories of the busiest symbols; of ones that did not trade there is nothing to compare."""
        for symbol, _ in traded.most_common(HISTORIES):
            query = HistoryQuery(symbol, began_ns - 60 * NS_PER_S, self._clock.now_ns() + NS_PER_S)
            try:
                request: HttpRequest = self._venue.history_request(query)
            except REFUSALS as error:
                raise ServiceUnavailable(f"history_request raises {type(error).__name__}: {error}") from error
            body = self._around.ask(request)
            (made.folder / HISTORY.format(quote(symbol, safe=""))).write_bytes(body)
            made.histories.append(symbol)


def read_recording(folder: Path) -> RecordedFrames:
    """Read the folder of one venue, or one that holds such folders. Raises UsageError where there is nothing recorded."""
    found = _read_home(folder)
    for home in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []:
        found.of[home.name] = _read_home(home)
    if not any(one.frames or one.instruments or one.histories for one in (found, *found.of.values())):
        raise UsageError(f"{folder}: nothing is recorded there", "`pumpwatch plugins record NAME` records a venue")
    return found


def _read_home(home: Path) -> RecordedFrames:
    pages = sorted(home.glob(INSTRUMENTS.format("*")), key=lambda path: (len(path.name), path.name))
    histories = [HistoryBody(unquote(path.name.removeprefix("history.").removesuffix(".json")), read_body(path))
                 for path in sorted(home.glob(HISTORY.format("*")))]
    return RecordedFrames(frames=read_frames(home / FRAMES) if (home / FRAMES).exists() else [],
                    instruments=[[read_body(path) for path in pages]] if pages else [], histories=histories)


def recorded_files(frames: str | None, instruments: Sequence[str], histories: Sequence[str],
                   folder: str | None) -> RecordedFrames:
    """Read what `plugins check` is given. Raises UsageError where a file cannot be read or holds nothing."""
    found = read_recording(Path(folder)) if folder else RecordedFrames()
    if frames:
        found.frames = [*found.frames, *read_frames(Path(frames))]
    pages = [read_body(Path(file)) for file in instruments]
    together = [pages] if len(pages) > 1 else []  # pages of one list, where no venue reads one alone
    found.instruments = [*found.instruments, *([page] for page in pages), *together]
    found.histories = [*found.histories, *map(history_body, histories)]
    return found


def record(name: str, config: Config, folder: Path, seconds: float, symbols: int) -> list[Recording]:
    """Record every enabled venue of a plugin, one after another. Raises UsageError where the plugin offers none."""
    plugins = load_plugins(config)
    candidate = plugins.candidate(name)
    offers = set(candidate.offers if candidate else ())
    venues = [venue for venue in plugins.venues if f"venue {venue.name}" in offers and not venue.variant]
    if not venues:
        known = ", ".join(sorted(one.name for one in plugins.candidates if any(o.startswith("venue ") for o in one.offers)))
        raise UsageError(f"no plugin with a venue is called `{name}`", f"known: {known}")
    made = []
    for venue in venues:
        exchange = config.exchange(venue.exchange)
        options = exchange.market(venue.market_type)
        if exchange.enabled and options.enabled:
            made.append(VenueRecorder(venue, options, config).run(folder / venue.name, seconds, symbols))
    return made
