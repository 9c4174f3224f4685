"""Find the plugins, check them, and gather what they offer.

Three ways in, treated alike: the entry-point group `pumpwatch.plugins` of anything installed, a wheel in the plugin
folder (`plugins.folder`), and a `.py` file in it. A plugin that cannot be imported, lacks a fact, misspells a hook or
offers what another already does is left out whole and named with the reason; the rest runs on. `plugins.disabled` knows
a plugin by its name, its module and the exchange it offers; only by the last must it be imported to be known.

This is the one place beside the supervisor that catches everything: importing a plugin runs other people's code.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pluggy

from pumpwatch.config import Config, VenueConfig, options_of
from pumpwatch.errors import ConfigError, PluginError
from pumpwatch.hookspecs import HookSpecs, ListingSource, Sink, SinkPlugin
from pumpwatch.model import FUTURES, SPOT, Venue
from pumpwatch.net.texts import one_line
from pumpwatch.plugin_folder import GROUP, files_in, import_file, points_of, put_on_path, why_not, why_unsafe

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Candidate:
    """A plugin by name: where it comes from, how to import it, and what became of it."""

    name: str
    origin: str
    load: Callable[[], Any]
    status: str = "ok"  # ok, disabled, or refused
    reason: str = ""
    offers: list[str] = field(default_factory=list)
    module: str = ""
    wheel: Path | None = None
    exchanges: list[str] = field(default_factory=list)  # known once it is imported

    def is_called(self, name: str) -> bool:
        """Return whether this plugin or its module has that name."""
        return name in (self.name, self.module)


class Plugins:
    """What all good plugins offer together."""

    def __init__(self) -> None:
        self.venues: list[Venue] = []
        self.sinks: dict[str, SinkPlugin] = {}
        self.sources: dict[str, ListingSource] = {}
        self.dialects: list[Any] = []  # pumpwatch.sim.dialect.Dialect, not imported here: a collector never needs it
        self.problems: list[tuple[str, str]] = []
        self.faults: list[str] = []  # of the section `plugins`: key, colon, what is wrong
        self.candidates: list[Candidate] = []

    def candidate(self, name: str) -> Candidate | None:
        """Return the plugin of this name, of this module, or that offers this exchange."""
        ranked = sorted(self.candidates, key=lambda one: (name != one.name, name != one.module))
        return next((one for one in ranked if one.is_called(name) or name in one.exchanges), None)

    def venue(self, name: str) -> Venue:
        """Return the venue called `exchange.market_type` (or `exchange.market_type:variant`).

        Raises PluginError that names the known ones.
        """
        known = {_name_of(venue): venue for venue in self.venues}
        if name in known:
            return known[name]
        raise PluginError(f"no plugin offers the venue `{name}`", _known(name, known))

    def source(self, name: str) -> ListingSource:
        """Return the listing source of this name, or raise PluginError that names the known ones."""
        if name in self.sources:
            return self.sources[name]
        raise PluginError(f"no plugin offers the listing source `{name}`", _known(name, self.sources))

    def fit(self, config: Config) -> list[tuple[Venue, VenueConfig]]:
        """Return the venues to collect, each with its part of the config.

        Raises one ConfigError that names all that the config wants and no plugin gives.
        """
        unmet = self.unmet(config)
        if unmet:
            raise ConfigError("; ".join(unmet), "`pumpwatch plugins list` shows what there is")
        chosen = self.chosen(config)
        if not chosen:
            raise ConfigError("no venue is to be collected", "`exchanges` names all that are collected; leave it out for every "
                                                             "one that a plugin offers")
        return chosen

    def make_sinks(self, config: Config) -> dict[str, Sink]:
        """Return every sink that the config names, not yet open. Raises ConfigError for one that cannot be meant."""
        missing = [line for line in self.unmet(config) if line.startswith("sinks.")]
        if missing:
            raise ConfigError("; ".join(missing), "`pumpwatch plugins list` shows what there is")
        return {name: self.sinks[name].create(options_of(config, "sinks", name, self.sinks[name].options))
                for name in config.sinks}

    def chosen(self, config: Config) -> list[tuple[Venue, VenueConfig]]:
        """Return the venues to collect, each with its part of the config: of the exchanges it names, else of all there are.

        Raises PluginError for a variant that no plugin offers.
        """
        chosen = []
        for name in config.exchanges or dict.fromkeys(venue.exchange for venue in self.venues):
            exchange = config.exchange(name)
            for market_type in self.markets(name):
                part = exchange.market(market_type)
                if exchange.enabled and part.enabled:
                    variant = f":{part.variant}" if part.variant else ""
                    chosen.append((self.venue(f"{name}.{market_type}{variant}"), part))
        return chosen

    def markets(self, exchange: str) -> list[str]:
        """Return the markets that an exchange's plugin offers, spot before futures."""
        offered = {venue.market_type for venue in self.venues if venue.exchange == exchange}
        return [market_type for market_type in (SPOT, FUTURES) if market_type in offered]

    def unmet(self, config: Config) -> list[str]:
        """Return a line for each exchange, market, sink or source that the config names and no plugin offers.

        An exchange or source whose plugin is disabled is not wanted; a sink is, as trades would go nowhere in silence. What
        cannot be meant in the section `plugins` comes first.
        """
        disabled = set(config.plugins.disabled)
        exchanges = {**config.overrides, **config.exchanges}
        offered = {venue.exchange for venue in self.venues}
        wanted = (
            ("exchanges", exchanges.keys() - disabled, offered),
            ("sinks", config.sinks.keys(), set(self.sinks)),
            ("listing.sources", (config.listing.sources.keys() | config.idle_sources.keys()) - disabled, set(self.sources)),
        )
        lines = [f"{section}.{name}: {'its plugin is disabled' if name in disabled else 'no plugin offers it'}; "
                 f"{_known(name, known)}" for section, named, known in wanted for name in sorted(named - known)]
        lines += [f"exchanges.{name}.{market_type}: the exchange's plugin has no such market; it has: "
                  f"{', '.join(self.markets(name))}" for name in sorted(exchanges.keys() & offered)
                  for market_type in (SPOT, FUTURES) if market_type not in self.markets(name) and exchanges[name].enabled
                  and (part := getattr(exchanges[name], market_type)) is not None and part.enabled]
        return [*self.faults, *lines]

    def describe(self) -> list[dict[str, Any]]:
        """Return one row a plugin found: name, status (ok, disabled, refused), offers, origin, reason."""
        return [{"name": one.name, "status": one.status, "offers": one.offers, "origin": one.origin,
                 "reason": one.reason} for one in self.candidates]

    def register(self, hook: str, value: Any, owners: dict[str, str], owner: str) -> str:
        """Add one offered value and return its name; raise PluginError where the name is taken."""
        kind, store = _KINDS[hook]
        name = _name_of(value)
        offer = f"{kind} {name}"
        if offer in owners:
            raise PluginError(f"{kind} `{name}` is already offered by the plugin `{owners[offer]}`")
        owners[offer] = owner
        store(self, name, value)
        return offer


def load_plugins(config: Config) -> Plugins:
    """Import every plugin that is not disabled and return what they offer; never raises for a plugin's sake."""
    plugins = Plugins()
    manager = pluggy.PluginManager("pumpwatch")
    manager.add_hookspecs(HookSpecs)
    owners: dict[str, str] = {}
    seen: dict[str, Candidate] = {}
    plugins.candidates += _candidates(config, plugins)
    exchanges = {name for name in config.plugins.disabled if not any(one.is_called(name) for one in plugins.candidates)}
    for candidate in plugins.candidates:
        if _is_disabled(candidate, config):
            candidate.status = "disabled"
            continue
        try:
            if candidate.name in seen:
                raise PluginError(f"the name is taken by {seen[candidate.name].origin}")
            seen[candidate.name] = candidate
            _adopt(plugins, manager, candidate, owners, exchanges)
        except (Exception, SystemExit) as error:
            candidate.status, candidate.reason = "refused", explain(error)
            plugins.problems.append((candidate.name, candidate.reason))
    for wheel in {one.wheel for one in plugins.candidates if one.wheel}:
        put_on_path(wheel, any(one.status != "disabled" for one in plugins.candidates if one.wheel == wheel))
    names = {name for one in plugins.candidates for name in (one.name, *one.exchanges)}
    plugins.faults += [f"plugins.disabled: no plugin is called `{name}`, and none offers such an exchange; {_known(name, names)}"
                       for name in config.plugins.disabled if plugins.candidate(name) is None]
    for name, reason in plugins.problems:
        log.warning("plugin left out name=%s reason=%s", name, reason)
    for fault in plugins.faults:
        log.warning("config not as it should be reason=%s", fault)
    return plugins


def explain(error: BaseException) -> str:
    """Return an import's failure as one line a plugin author can act on."""
    text = one_line(str(error), 500) or type(error).__name__
    if isinstance(error, PluginError):
        return text
    frame, trace = "", error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if not path.startswith("<") and path != __file__ and "importlib" not in path:
            frame = f" ({Path(path).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {text}{frame}"


def _adopt(plugins: Plugins, manager: pluggy.PluginManager, candidate: Candidate, owners: dict[str, str],
           disabled: set[str]) -> None:
    """Import, check and read one plugin; all that it offers is taken, or nothing: one that offers a disabled exchange is not.

    disabled: the names of `plugins.disabled` that no plugin bears itself, so that one's own can take a plugin's place.
    """
    module = candidate.load()
    try:
        manager.register(module, candidate.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        _withdraw(manager, candidate.name)
        raise PluginError(_hook_problem(module, error)) from error
    offered = [(caller.name, value) for caller in manager.get_hookcallers(module) or ()
               for impl in caller.get_hookimpls() if impl.plugin is module
               for value in _checked(caller.name, impl.function())]
    if not offered:
        _withdraw(manager, candidate.name)
        raise PluginError(f"it implements no hook; mark one of {', '.join(_KINDS)} with @pumpwatch.hookimpl")
    candidate.exchanges = sorted({value.exchange for hook, value in offered if hook == "exchange_venues"})
    named = sorted(disabled.intersection(candidate.exchanges))
    if named:
        _withdraw(manager, candidate.name)
        candidate.status, candidate.reason = "disabled", f"it offers the exchange {', '.join(named)}"
        return
    trial, tried = Plugins(), dict(owners)
    for hook, value in offered:
        trial.register(hook, value, tried, candidate.name)
    candidate.offers = [plugins.register(hook, value, owners, candidate.name) for hook, value in offered]


def _withdraw(manager: pluggy.PluginManager, name: str) -> None:
    if manager.has_plugin(name):
        manager.unregister(name=name)


def _checked(hook: str, values: Any) -> list[Any]:
    """Return what a hook gave as a list, or raise where it holds something else than it should."""
    wanted = {"exchange_venues": Venue, "sinks": SinkPlugin, "listing_sources": ListingSource}.get(hook)
    if not isinstance(values, (list, tuple)):
        raise PluginError(f"{hook} must return a list, not {type(values).__name__}")
    for value in values:
        if wanted is not None and not isinstance(value, wanted):
            raise PluginError(f"{hook} must return {wanted.__name__} values, not {type(value).__name__}")
    return list(values)


def _hook_problem(module: Any, error: Exception) -> str:
    """Return which function misspells a hook, and what was meant."""
    for name in dir(module):
        if name not in _KINDS and getattr(getattr(module, name, None), "pumpwatch_impl", None) is not None:
            return f"`{name}` is no hook; {_known(name, _KINDS)}"
    return one_line(str(error), 500)


def _candidates(config: Config, plugins: Plugins) -> Iterator[Candidate]:
    """Yield what is installed, then what lies in the plugin folder."""
    files = _usable_files(config.plugins.folder, plugins)
    points = [(point, wheel) for wheel in files if wheel.suffix == ".whl" for point in points_of(wheel)]
    in_wheels = {(point.name, point.value) for point, _ in points}
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        if (point.name, point.value) not in in_wheels:  # a wheel is on the path where plugins were loaded before
            yield Candidate(point.name, point.value, point.load, module=point.module)
    found = [Candidate(point.name, point.value, point.load, module=point.module, wheel=wheel) for point, wheel in points]
    for one in found:
        if one.wheel and not _is_disabled(one, config):
            put_on_path(one.wheel, True)
    yield from found
    for file in files:
        if file.suffix == ".py":
            yield Candidate(file.stem, str(file), partial(import_file, file))


def _usable_files(folder: str, plugins: Plugins) -> list[Path]:
    """Return the files of the plugin folder that may be loaded; what may not is named among the problems or faults."""
    if not folder:
        return []
    path = Path(folder)
    reason = why_unsafe(path) if path.is_dir() else f"{path} is not a folder"
    if reason:
        plugins.faults.append(f"plugins.folder: {reason}")
        return []
    files = {file: why_not(file) for file in files_in(path)}
    plugins.problems += [(file.name, reason) for file, reason in files.items() if reason]
    return [file for file, reason in files.items() if not reason]


def _is_disabled(candidate: Candidate, config: Config) -> bool:
    return any(candidate.is_called(name) for name in config.plugins.disabled)


def _name_of(value: Any) -> str:
    """Return what tells a value from others of its kind: its name, or exchange and market, and its variant."""
    name = value.name if hasattr(value, "name") else ".".join(filter(None, (value.exchange, value.market_type)))
    variant = getattr(value, "variant", "")
    return f"{name}:{variant}" if variant else str(name)


def _known(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    hint = f"did you mean `{near[0]}`? " if near else ""
    return f"{hint}known: {', '.join(sorted(known)) or 'none'}"


_KINDS: dict[str, tuple[str, Callable[[Plugins, str, Any], None]]] = {
    "exchange_venues": ("venue", lambda plugins, name, value: plugins.venues.append(value)),
    "sinks": ("sink", lambda plugins, name, value: plugins.sinks.update({name: value})),
    "listing_sources": ("source", lambda plugins, name, value: plugins.sources.update({name: value})),
    "simulator_dialects": ("simulator", lambda plugins, name, value: plugins.dialects.append(value)),
}
