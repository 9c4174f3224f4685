"""Record the frames and answers of a real venue into files that `plugins check` and a plugin's own tests read.

Each venue gets a folder: `frames.jsonl` (each frame as received), `instruments.N.json` (the pages of its list), and
`history.SYMBOL.json` for the symbols that traded most during the recording. Histories are requested at the end, so that the
same trades are in both. Connections and requests are the collector's own, within the venue's limits.
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
from pumpwatch.model import Columns
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.http import Http
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer, tls_context
from pumpwatch.pipeline.decode import raw_of
from pumpwatch.plugin_kit.check_recorded import RecordedFrames, history_body, read_body
from pumpwatch.plugin_kit.samples import HistoryBody, read_frames
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.plugins import load_plugins
from pumpwatch.stats import Stats
from pumpwatch.venue import HistoryQuery, HttpRequest, Venue

FRAMES, INSTRUMENTS, HISTORY = "frames.jsonl", "instruments.{}.json", "history.{}.json"
HISTORIES = 3
STEP_S = 0.01
SUBSCRIBED_WITHIN_S = 30.0


@dataclass(slots=True)
class Recording:
    """The result of recording one venue. problem: why the recording is incomplete; empty if it is complete."""

    venue: str
    folder: Path
    frames: int = 0
    trades: int = 0
    instruments: int = 0
    histories: list[str] = field(default_factory=list)  # symbols
    problem: str = ""


class VenueRecorder:
    """Records one venue; `run` blocks its greenlet until the time is up."""

    def __init__(self, venue: Venue, options: VenueConfig, config: Config) -> None:
        self._venue, self._clock, stats = venue, Clock(), Stats()
        context = tls_context(config.net.ca_file)
        http = Http(context, config.net.connect_timeout_s, config.net.proxy)
        limits, rest_url = VenueRateLimits(self._clock), options.rest_url or venue.rest_url
        budget = limits.requests(venue)
        self._buffer = FrameBuffer()
        self._sweep = Sweep(self._clock, stats, STEP_S, STEP_S, config.net.max_pending_bytes)
        self._rejected: list[str] = []
        self._context = FeedContext(
            venue, options.ws_url or venue.ws_url, Dialer(context, config.net.connect_timeout_s, config.net.proxy), self._sweep,
            self._buffer, limits.connects(venue), lambda request: http.ask(rest_url, request, venue.headers, budget), self._clock,
            stats, config.net.max_frame_bytes, lambda records: None,
            lambda number, symbol, reason: self._rejected.append(f"{symbol}: {reason}"), lambda number, symbols, reason: None)

    def run(self, folder: Path, seconds: float, symbols: int) -> Recording:
        """Record into a new or existing folder. A failure of the venue is not raised but returned in `problem`."""
        recording = Recording(self._venue.name, folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            chosen = self._record_instruments(recording, symbols)
            began_ns = self._clock.now_ns()
            traded = self._record_frames(recording, chosen, seconds)
            if self._venue.history.rows_per_request:
                self._record_histories(recording, traded, began_ns)
        except ServiceUnavailable as error:
            recording.problem = error.message
        return recording

    def _record_instruments(self, recording: Recording, symbols: int) -> list[str]:
        """Write the pages of the list; return at most `symbols` symbols, those with the largest volumes."""
        pages: list[bytes] = []
        try:
            listed = fetch_instruments(self._venue, self._context.ask, pages=pages)
        finally:  # a list that the plugin cannot read is what its author needs most
            for number, page in enumerate(pages, 1):
                (recording.folder / INSTRUMENTS.format(number)).write_bytes(page)
        recording.instruments = len(listed)
        volumes = {instrument.symbol: instrument.volume for instrument in listed}
        if self._venue.volumes is not None:
            try:
                volumes |= fetch_volumes(self._venue.volumes, self._context.ask)
            except ServiceUnavailable as error:
                recording.problem = f"volumes: {error.message}"
        known = [instrument.symbol for instrument in listed]
        most = min(symbols, self._venue.limits.symbols_per_connection)
        return sorted(known, key=lambda symbol: -volumes.get(symbol, 0.0))[:most]

    def _record_frames(self, recording: Recording, symbols: list[str], seconds: float) -> Counter[str]:
        """Subscribe and write every frame until `seconds` after the subscription; count the trades of each symbol."""
        session = FeedSession(self._context, 0, set(), Event())
        session.subscriptions.want(symbols, add=True)
        self._sweep.add(session.connection)
        traded: Counter[str] = Counter()
        until, subscribed = self._clock.monotonic() + SUBSCRIBED_WITHIN_S, False
        try:
            with (recording.folder / FRAMES).open("wb") as file:
                while (now := self._clock.monotonic()) < until:
                    if not subscribed and session.greeted and session.subscriptions.settled:
                        subscribed, until = True, now + seconds
                    session.serve(now)
                    self._sweep.once()
                    for frame in self._arrived():
                        file.write(line_of(frame))
                        recording.frames += 1
                        traded.update(self._read(session, frame))
                    if problem := session.problem(now, SUBSCRIBED_WITHIN_S + seconds):
                        raise ServiceUnavailable(f"the connection ended: {problem}")
                    gevent.sleep(STEP_S)
        finally:
            self._sweep.remove(session.connection)
            session.connection.close("recorded")
            session.connection.stream.close()
        recording.trades = traded.total()
        if not subscribed:
            raise ServiceUnavailable(f"the venue did not acknowledge all of {len(symbols)} symbols; "
                                     f"rejected: {self._rejected[:3] or 'none'}")
        return traded

    def _arrived(self) -> Iterator[bytes]:
        frames = self._buffer.take_frames()
        for number in range(len(frames) if frames is not None else 0):
            assert frames is not None
            yield frames.payload(number)

    def _read(self, session: FeedSession, frame: bytes) -> list[str]:
        """Return the symbols of a frame's trades, one per trade; pass a control frame to the session."""
        columns = Columns()
        if attempt(self._venue.parse, b"[" + frame + b"]", columns).error is None:
            return [symbol for symbol in columns.symbol if isinstance(symbol, str)]
        control = attempt(self._venue.read_control, frame).value
        if control is not None:
            session.receive_control(control)
        return []

    def _record_histories(self, recording: Recording, traded: Counter[str], began_ns: int) -> None:
        """Write the histories of the busiest symbols, because only symbols that traded can be compared with frames."""
        for symbol, _ in traded.most_common(HISTORIES):
            query = HistoryQuery(symbol, began_ns - 60 * NS_PER_S, self._clock.now_ns() + NS_PER_S)
            try:
                request: HttpRequest = self._venue.history_request(query)
            except REFUSALS as error:
                raise ServiceUnavailable(f"history_request raises {type(error).__name__}: {error}") from error
            body = self._context.ask(request)
            (recording.folder / HISTORY.format(quote(symbol, safe=""))).write_bytes(body)
            recording.histories.append(symbol)


def line_of(frame: bytes) -> bytes:
    """Return a frame as a line that `read_frames` reads: unchanged if possible, otherwise inside JSON.

    JSON is needed for line ends, spaces at an end, an empty frame, and a frame that looks like such JSON itself.
    """
    plain = frame and frame.strip() == frame and len(frame.splitlines()) == 1 and raw_of(frame) is None
    return (frame if plain else json.dumps({"raw": frame.decode("utf-8", "replace")}).encode()) + b"\n"


def read_recording(folder: Path) -> RecordedFrames:
    """Read the folder of one venue, or a folder of such folders. Raises UsageError if it has no recording."""
    found = _read_venue(folder)
    for venue in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []:
        found.by_venue[venue.name] = _read_venue(venue)
    if not any(recorded.frames or recorded.instruments or recorded.histories for recorded in (found, *found.by_venue.values())):
        raise UsageError(f"{folder}: no recording found", "`pumpwatch plugins record NAME` records the venues of a plugin")
    return found


def _read_venue(folder: Path) -> RecordedFrames:
    pages = sorted(folder.glob(INSTRUMENTS.format("*")), key=lambda path: (len(path.name), path.name))
    histories = [HistoryBody(unquote(path.name.removeprefix("history.").removesuffix(".json")), read_body(path))
                 for path in sorted(folder.glob(HISTORY.format("*")))]
    return RecordedFrames(frames=read_frames(folder / FRAMES) if (folder / FRAMES).exists() else [],
                          instruments=[[read_body(path) for path in pages]] if pages else [], histories=histories)


def recorded_files(frames: str | None, instruments: Sequence[str], histories: Sequence[str],
                   folder: str | None) -> RecordedFrames:
    """Read the files given to `plugins check`. Raises UsageError if a file cannot be read or is empty."""
    found = read_recording(Path(folder)) if folder else RecordedFrames()
    if frames:
        found.frames = [*found.frames, *read_frames(Path(frames))]
    pages = [read_body(Path(file)) for file in instruments]
    together = [pages] if len(pages) > 1 else []  # they may be the pages of one list
    found.instruments = [*found.instruments, *([page] for page in pages), *together]
    found.histories = [*found.histories, *map(history_body, histories)]
    return found


def record(name: str, config: Config, folder: Path, seconds: float, symbols: int) -> list[Recording]:
    """Record every enabled venue of a plugin, one after another, each into a folder of its name. Raises UsageError."""
    return [VenueRecorder(venue, options, config).run(folder / venue.name, seconds, symbols)
            for venue, options in enabled_venues(name, config)]


def enabled_venues(name: str, config: Config) -> list[tuple[Venue, VenueConfig]]:
    """Return a plugin's venues that the config enables, with their options, each in its usual protocol.

    A venue that the config does not mention has its defaults. Raises UsageError if the plugin offers no venue.
    """
    plugins = load_plugins(config)
    candidate = plugins.candidate(name)
    offers = set(candidate.offers if candidate else ())
    venues = [venue for venue in plugins.venues if f"venue {venue.name}" in offers and not venue.variant]
    if not venues:
        known = ", ".join(sorted(known.name for known in plugins.candidates
                                 if any(offer.startswith("venue ") for offer in known.offers)))
        raise UsageError(f"no plugin with a venue is called `{name}`", f"known: {known}")
    found = []
    for venue in venues:
        exchange = config.exchange(venue.exchange)
        options = exchange.market(venue.market_type)
        if exchange.enabled and options.enabled:
            found.append((venue, options))
    return found
