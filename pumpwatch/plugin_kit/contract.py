"""The contract of a plugin, checked: what ships is held to it by the project's own tests, anyone's by `plugins check`.

For each venue: facts complete and plausible; `parse` pure, and whatever a mutated frame holds it is a trade, control or
refused; no impossible value becomes a trade; subscriptions within the venue's own limits; bodies of REST that are no lists
refused; all that a dialect sends and answers understood; the speed of a trade; and, with a dialect, the whole way through the
simulator.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pumpwatch.config import Config
from pumpwatch.errors import UsageError
from pumpwatch.hookspecs import ListingSource, Sink, SinkPlugin
from pumpwatch.model import Venue
from pumpwatch.plugin_kit.check_facts import check_facts, is_number
from pumpwatch.plugin_kit.check_frames import check_reading
from pumpwatch.plugin_kit.check_recorded import RecordedFrames, check_recorded
from pumpwatch.plugin_kit.check_requests import check_asking
from pumpwatch.plugin_kit.check_responses import check_bodies
from pumpwatch.plugin_kit.check_values import check_values
from pumpwatch.plugin_kit.mutations import MUST_REFUSE, ODD_VALUES
from pumpwatch.plugin_kit.results import FAIL, OK, WARN, Check, Problems, short
from pumpwatch.plugin_kit.round_trip import CHECK, check_round_trip
from pumpwatch.plugin_kit.samples import HistoryBody, gather
from pumpwatch.plugin_kit.sandbox import attempt, listening
from pumpwatch.plugins import Plugins, load_plugins

if TYPE_CHECKING:
    from pumpwatch.sim.dialect import Dialect


def check_venue(venue: Venue, frames: Sequence[bytes] = (), dialect: Dialect | None = None, *,
                instruments: Sequence[bytes] = (), histories: Mapping[str, bytes] | None = None) -> list[Check]:
    """Check one venue against the contract, the round trip left out, and return a row for each check.

    frames: recorded ones, as they came. Without any, and without a dialect, nothing can be said of trades. instruments: the
    pages of the venue's own symbol list. histories: symbol -> the body of its trade history, best of the same minutes as the
    frames.
    """
    facts = check_facts(venue)
    if any(one.state == FAIL for one in facts):
        return facts  # what follows relies on them
    bodies = [HistoryBody(symbol, body) for symbol, body in (histories or {}).items()]
    material = gather(venue, frames, dialect, instruments, bodies)
    parts: tuple[Callable[..., list[Check]], ...] = (check_reading, check_values, check_asking, check_bodies, check_recorded)
    for part in parts:
        facts += part(venue, material)
    return facts


def check_plugin(name: str, config: Config, recorded: RecordedFrames | None = None, *,
                 round_trip: bool = True) -> Iterator[Check]:
    """Yield a row for each check of everything that a plugin offers. Raises UsageError where there is no such plugin."""
    plugins, recorded = load_plugins(config), recorded or RecordedFrames()
    candidate = plugins.candidate(name)
    if candidate is None or candidate.status == "disabled":
        known = ", ".join(sorted(one.name for one in plugins.candidates if one.status != "disabled"))
        raise UsageError(f"no plugin is called `{name}`", f"known: {known}")
    if candidate.status == "refused":
        yield Check(name, "it loads", FAIL, candidate.reason)
        return
    yield Check(name, "it loads", OK, f"{', '.join(candidate.offers)} from {candidate.origin}")
    offers = set(candidate.offers)
    venues = [one for one in plugins.venues if f"venue {_full_name(one)}" in offers]
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
    played = [(one, dialect) for one in venues if (dialect := _dialect_of(one, plugins)) is not None]
    for variant in sorted({one.variant for one, _ in played} if round_trip else ()):  # of a venue one protocol at a time
        pairs = [pair for pair in played if pair[0].variant == variant]
        for (venue, _), row in zip(pairs, check_round_trip(pairs, config.plugins.folder), strict=True):
            yield dataclasses.replace(row, of=_full_name(venue))
    if venues and not played:
        yield Check(name, CHECK, WARN, "no simulator plugin plays its venues, so the whole way was not gone")


def _full_name(venue: Venue) -> str:
    return f"{venue.name}:{venue.variant}" if venue.variant else venue.name


def _named(checks: list[Check], name: str) -> Iterator[Check]:
    return (dataclasses.replace(one, of=name) for one in checks)


def _dialect_of(venue: Venue, plugins: Plugins) -> Dialect | None:
    """Return the dialect that plays this venue, in its protocol; it may be another plugin's."""
    from pumpwatch.sim.dialect import Dialect

    known = {one.name: one for one in plugins.dialects if isinstance(one, Dialect)}
    dialect = known.get(venue.name)
    return dialect if dialect is not None and dialect.path_of(venue.variant) is not None else None


def check_source(source: ListingSource) -> list[Check]:
    """Hold a notice board against the contract."""
    facts = Problems(source.name, "facts")
    urls = (source.url, *source.fallback_urls)
    facts.want(all(isinstance(url, str) and url.startswith("https://") for url in urls), "an address that is not https://")
    facts.want(is_number(source.interval_s) and source.interval_s >= 1, f"interval_s is {source.interval_s!r}")
    bodies, titles = Problems(source.name, "bad bodies are refused"), Problems(source.name, "odd titles get a verdict")
    for name, body in MUST_REFUSE.items():
        given = attempt(source.parse, body)
        bodies.want(not given.broke, f"{name} raises {given.said()}")
        bodies.want(given.error is not None, f"{name} is taken for a list of notices")
    for title in (*(odd for odd in ODD_VALUES if isinstance(odd, str)), "(" * 5000, "A" * 100_000, "[]()", "\ud800"):
        with listening() as heard:
            verdict, again = attempt(source.verdict, title), attempt(source.verdict, title)
        titles.want(verdict.error is None, f"it raises {verdict.said()} on {short(title, 30)!r}")
        titles.want(verdict.value == again.value and not heard, "the same title gets another verdict, or it reaches outside")
    return [facts.row(f"{source.url} each {source.interval_s} s"), bodies.row(f"{len(MUST_REFUSE)} kinds of other answers"),
            titles.row("and the same one twice")]


def check_sink(sink: SinkPlugin) -> Check:
    """Hold what can be said of a sink without its service against the contract."""
    problems = Problems(sink.name, "options and methods")
    options: Any = sink.options
    struct = isinstance(options, type) and issubclass(options, msgspec.Struct)
    problems.want(struct, "options is no msgspec Struct")
    problems.want(struct and options.__struct_config__.forbid_unknown_fields, "options lets unknown keys pass")
    made = attempt(options)
    wanted = {name for name, _ in inspect.getmembers(Sink, inspect.isfunction) if not name.startswith("_")}
    if made.error is None:
        opened = attempt(sink.create, made.value)
        problems.want(opened.error is None, f"create raises {opened.said()}")
        missing = sorted(name for name in wanted if not callable(getattr(opened.value, name, None)))
        problems.want(opened.error is not None or not missing, f"it lacks {', '.join(missing)}")
    return problems.row(f"{len(wanted)} methods; its service was not asked")
