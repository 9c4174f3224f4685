"""Check a plugin against the contract. The project's tests check its own plugins; `plugins check` checks any plugin.

For each venue: its facts are complete and plausible; `parse` is pure; a mutated frame is a trade, control or rejected; no
impossible value becomes a trade; subscriptions keep the venue's limits; REST bodies of another kind are rejected; everything
that a dialect sends is understood, its history page by page, its candles and books too; the time a trade takes; and, with a
dialect, a round trip through the simulator.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pumpwatch.config import Config
from pumpwatch.errors import UsageError
from pumpwatch.findings import FAIL, OK, WARN
from pumpwatch.hookspecs import AnySource, MarketSource, PolledSource, Sink, SinkPlugin
from pumpwatch.plugin_kit.check_books import check_books
from pumpwatch.plugin_kit.check_candles import check_candles
from pumpwatch.plugin_kit.check_facts import check_facts, is_number
from pumpwatch.plugin_kit.check_frames import check_frames
from pumpwatch.plugin_kit.check_paging import check_paging
from pumpwatch.plugin_kit.check_recorded import RecordedFrames, check_recorded
from pumpwatch.plugin_kit.check_requests import check_requests
from pumpwatch.plugin_kit.check_responses import check_responses
from pumpwatch.plugin_kit.check_tickers import check_tickers
from pumpwatch.plugin_kit.check_values import check_values
from pumpwatch.plugin_kit.mutations import MUST_REFUSE, ODD_VALUES
from pumpwatch.plugin_kit.results import Check, Problems, short
from pumpwatch.plugin_kit.round_trip import CHECK, check_round_trip
from pumpwatch.plugin_kit.samples import HistoryBody, gather
from pumpwatch.plugin_kit.sandbox import attempt, watch_effects
from pumpwatch.plugins import Plugins, load_plugins
from pumpwatch.venue import Venue

if TYPE_CHECKING:
    from pumpwatch.sim.dialect import Dialect


def check_venue(venue: Venue, frames: Sequence[bytes] = (), dialect: Dialect | None = None, *,
                instruments: Sequence[bytes] = (), histories: Mapping[str, bytes] | None = None) -> list[Check]:
    """Check one venue against the contract, without the round trip, and return a row for each check.

    frames: recorded frames, as received. Without frames and without a dialect, trades are not checked. instruments: the pages
    of the venue's own symbol list. histories: symbol -> the body of its trade history, ideally of the same minutes as the
    frames.
    """
    facts = check_facts(venue)
    if any(row.state == FAIL for row in facts):
        return facts  # the other checks rely on them
    bodies = [HistoryBody(symbol, body) for symbol, body in (histories or {}).items()]
    samples = gather(venue, frames, dialect, instruments, bodies)
    parts: tuple[Callable[..., list[Check]], ...] = (check_frames, check_values, check_requests, check_responses, check_paging,
                                                     check_candles, check_books, check_tickers, check_recorded)
    for part in parts:
        facts += part(venue, samples)
    return facts


def check_plugin(name: str, config: Config, recorded: RecordedFrames | None = None, *,
                 round_trip: bool = True) -> Iterator[Check]:
    """Yield a row for each check of a plugin's venues, sources and sinks. Raises UsageError for an unknown plugin.

    recorded: frames and answers of its venues. round_trip: also run the simulator, which takes some seconds.
    """
    plugins, recorded = load_plugins(config), recorded or RecordedFrames()
    candidate = plugins.candidate(name)
    if candidate is None or candidate.status == "disabled":
        known = ", ".join(sorted(known.name for known in plugins.candidates if known.status != "disabled"))
        raise UsageError(f"no plugin is called `{name}`", f"known: {known}")
    if candidate.status == "refused":
        yield Check(name, "it loads", FAIL, candidate.reason)
        return
    yield Check(name, "it loads", OK, f"{', '.join(candidate.offers)} from {candidate.origin}")
    offers = set(candidate.offers)
    venues = [venue for venue in plugins.venues if f"venue {_full_name(venue)}" in offers]
    for venue in venues:
        rows = check_venue(venue, recorded.frames_of(venue, venues), _dialect_of(venue, plugins),
                           instruments=recorded.instruments_of(venue, venues), histories=recorded.histories_of(venue, venues))
        yield from _named(rows, _full_name(venue))
    for source in plugins.sources.values():
        if f"source {source.name}" in offers:
            yield from check_source(source)
    for sink in plugins.sinks.values():
        if f"sink {sink.name}" in offers:
            yield check_sink(sink)
    played = [(venue, dialect) for venue in venues if (dialect := _dialect_of(venue, plugins)) is not None]
    for variant in sorted({venue.variant for venue, _ in played} if round_trip else ()):  # a venue has one protocol at a time
        pairs = [pair for pair in played if pair[0].variant == variant]
        for (venue, _), row in zip(pairs, check_round_trip(pairs, config.plugins.folder), strict=True):
            yield dataclasses.replace(row, of=_full_name(venue))
    if venues and not played:
        yield Check(name, CHECK, WARN, "not done: no simulator plugin plays its venues")


def _full_name(venue: Venue) -> str:
    return f"{venue.name}:{venue.variant}" if venue.variant else venue.name


def _named(checks: list[Check], name: str) -> Iterator[Check]:
    return (dataclasses.replace(check, of=name) for check in checks)


def _dialect_of(venue: Venue, plugins: Plugins) -> Dialect | None:
    """Return the dialect of any plugin that plays this venue in its protocol, or None."""
    from pumpwatch.sim.dialect import Dialect

    known = {dialect.name: dialect for dialect in plugins.dialects if isinstance(dialect, Dialect)}
    dialect = known.get(venue.name)
    return dialect if dialect is not None and dialect.path_of(venue.variant) is not None else None


def check_source(source: AnySource) -> list[Check]:
    """Check a listing source against the contract. A push source is not connected."""
    rows = [_check_source_facts(source)]
    bodies, titles = Problems(source.name, "bad bodies are refused"), Problems(source.name, "odd titles get a verdict")
    for name, body in MUST_REFUSE.items():
        given = attempt(source.parse, body)
        bodies.must(not given.broke, f"{name} raises {given.message()}")
        bodies.must(given.error is not None, f"{name} is accepted as a list of notices")
    rows.append(bodies.row(f"{len(MUST_REFUSE)} kinds of other answers"))
    if isinstance(source, MarketSource) or source.verdict is None:
        return rows
    for title in (*(odd for odd in ODD_VALUES if isinstance(odd, str)), "(" * 5000, "A" * 100_000, "[]()", "\ud800"):
        with watch_effects() as effects:
            verdict, again = attempt(source.verdict, title), attempt(source.verdict, title)
        titles.must(verdict.error is None, f"it raises {verdict.message()} on {short(title, 30)!r}")
        titles.must(verdict.value == again.value and not effects,
                    "verdict returns a different verdict the second time, or has side effects")
    return [*rows, titles.row("each gets the same verdict twice")]


def _check_source_facts(source: AnySource) -> Check:
    facts = Problems(source.name, "facts")
    if not isinstance(source, PolledSource):
        facts.must(callable(source.listen), "listen is not a function")
        return facts.row("a push source")
    urls = (source.url, *source.fallback_urls)
    facts.must(all(isinstance(url, str) and url.startswith("https://") for url in urls), "an address does not begin with https://")
    facts.must(is_number(source.interval_s) and source.interval_s >= 1, f"interval_s is {source.interval_s!r}")
    pace = source.pace
    facts.must(pace is None or (pace.quick_s >= 1 and pace.night_s >= 1), f"pace is {pace!r}")
    return facts.row(f"{source.url} every {source.interval_s} s")


def check_sink(sink: SinkPlugin) -> Check:
    """Check a sink's options and methods against the contract; its service is not contacted."""
    problems = Problems(sink.name, "options and methods")
    options: Any = sink.options
    struct = isinstance(options, type) and issubclass(options, msgspec.Struct)
    problems.must(struct, "options is not a msgspec Struct")
    problems.must(struct and options.__struct_config__.forbid_unknown_fields,
                  "options accepts unknown keys: set forbid_unknown_fields")
    made = attempt(options)
    wanted = {name for name, _ in inspect.getmembers(Sink, inspect.isfunction) if not name.startswith("_")}
    if made.error is None:
        opened = attempt(sink.create, made.value)
        problems.must(opened.error is None, f"create raises {opened.message()}")
        missing = sorted(name for name in wanted if not callable(getattr(opened.value, name, None)))
        problems.must(opened.error is not None or not missing, f"methods are missing: {', '.join(missing)}")
    return problems.row(f"{len(wanted)} methods; its service was not contacted")
