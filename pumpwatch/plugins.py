"""Find the plugins, check them, and collect the venues, sinks, sources and dialects that they offer.

A plugin is an entry point `pumpwatch.plugins` of an installed package, a wheel in the plugin folder (`plugins.folder`), or a
`.py` file in it. A plugin is left out as a whole, and logged with the reason, if it cannot be imported, misses a fact, misspells
a hook, or offers a name that is taken; the other plugins are used. `plugins.disabled` lists plugins by name, by module or by an
exchange that they offer; only the last requires an import.

Importing a plugin runs foreign code, so this module catches every exception, like the supervisor.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pluggy

from pumpwatch.config import Config, VenueConfig, options_of
from pumpwatch.config_listing import ListingConfig
from pumpwatch.errors import ConfigError, PluginError
from pumpwatch.hookspecs import AnySource, HookSpecs, ListingSource, MarketSource, PushSource, Sink, SinkPlugin
from pumpwatch.model import FUTURES, SPOT
from pumpwatch.net.texts import one_line
from pumpwatch.plugin_folder import GROUP, files_in, import_file, points_of, put_on_path, why_not, why_unsafe
from pumpwatch.strategy import StrategyPlugin
from pumpwatch.venue import Venue

log = logging.getLogger(__name__)
_HOOKABLE = (FunctionType, MethodType, classmethod, staticmethod)
LIST_HINT = "`pumpwatch plugins list` shows the plugins and their offers"


@dataclass(slots=True)
class Candidate:
    """A plugin that was found: its name, its origin, the function that imports it, and the result of the import."""

    name: str
    origin: str
    load: Callable[[], Any]
    status: str = "ok"  # ok, disabled, or refused
    reason: str = ""
    offers: list[str] = field(default_factory=list)
    module: str = ""
    wheel: Path | None = None
    exchanges: list[str] = field(default_factory=list)  # known after the import

    def is_called(self, name: str) -> bool:
        """Return whether this plugin or its module has that name."""
        return name in (self.name, self.module)


class Plugins:
    """Everything that the loaded plugins offer.

    problems: (plugin, reason) of each plugin that was left out. faults: errors in the section `plugins` of the config, as
    `key: problem`.
    """

    def __init__(self) -> None:
        self.venues: list[Venue] = []
        self.sinks: dict[str, SinkPlugin] = {}
        self.sources: dict[str, AnySource] = {}
        self.dialects: list[Any] = []  # pumpwatch.sim.dialect.Dialect, not imported here: a collector never needs it
        self.strategies: dict[str, StrategyPlugin] = {}
        self.problems: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.candidates: list[Candidate] = []

    def candidate(self, name: str) -> Candidate | None:
        """Return the plugin with this name, with this module, or with this exchange, in that order; None if there is no match."""
        ranked = sorted(self.candidates, key=lambda candidate: (name != candidate.name, name != candidate.module))
        return next((candidate for candidate in ranked if candidate.is_called(name) or name in candidate.exchanges), None)

    def venue(self, name: str) -> Venue:
        """Return the venue called `exchange.market_type` or `exchange.market_type:variant`.

        Raises PluginError, with the known names, for an unknown name.
        """
        known = {_name_of(venue): venue for venue in self.venues}
        if name in known:
            return known[name]
        raise PluginError(f"no plugin offers the venue `{name}`", _known(name, known))

    def source(self, name: str) -> AnySource:
        """Return the listing source with this name. Raises PluginError, with the known names, for an unknown name."""
        if name in self.sources:
            return self.sources[name]
        raise PluginError(f"no plugin offers the listing source `{name}`", _known(name, self.sources))

    def strategy(self, name: str) -> StrategyPlugin:
        """Return the paper-trading strategy with this name. Raises PluginError, with the known names, for an unknown name."""
        if name in self.strategies:
            return self.strategies[name]
        raise PluginError(f"no plugin offers the strategy `{name}`", _known(name, self.strategies))

    def fit(self, config: Config) -> list[tuple[Venue, VenueConfig]]:
        """Return the venues to collect, each with its part of the config.

        Raises one ConfigError that names everything in the config that no plugin offers.
        """
        unmet = self.unmet(config)
        if unmet:
            raise ConfigError("; ".join(config.located(unmet)), LIST_HINT)
        chosen = self.chosen(config)
        if not chosen:
            raise ConfigError("no venue is enabled", "`exchanges` names the exchanges to collect; without that section, every "
                                                     "exchange of the plugins is collected")
        return chosen

    def make_sinks(self, config: Config) -> dict[str, Sink]:
        """Return every sink that the config names, not yet open. Raises ConfigError for an unknown sink or invalid options."""
        missing = [line for line in self.unmet(config) if line.startswith("sinks.")]
        if missing:
            raise ConfigError("; ".join(config.located(missing)), LIST_HINT)
        return {name: self.sinks[name].create(options_of(config, "sinks", name, self.sinks[name].options))
                for name in config.sinks}

    def chosen(self, config: Config) -> list[tuple[Venue, VenueConfig]]:
        """Return the enabled venues of the chosen exchanges (none chosen: of all), each with its part of the config.

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

        Errors in the section `plugins` come first. An exchange or source whose plugin is disabled is not an error, and neither
        is a source of the default config. A missing sink is an error, because it would silently get no trades.
        """
        disabled = set(config.plugins.disabled)
        exchanges = {**config.overrides, **config.exchanges}
        offered = {venue.exchange for venue in self.venues}
        named = set(config.listing.sources)
        usual = named if named == set(ListingConfig().sources) else set()
        wanted = (
            ("exchanges", exchanges.keys() - disabled, offered),
            ("sinks", config.sinks.keys(), set(self.sinks)),
            ("listing.sources", (config.listing.sources.keys() | config.idle_sources.keys()) - disabled - usual,
             set(self.sources)),
        )
        lines = [f"{section}.{name}: {'its plugin is disabled' if name in disabled else 'no plugin offers it'}; "
                 f"{_known(name, known)}" for section, named, known in wanted for name in sorted(named - known)]
        lines += [f"exchanges.{name}.{market_type}: the exchange's plugin has no such market; it has: "
                  f"{', '.join(self.markets(name))}" for name in sorted(exchanges.keys() & offered)
                  for market_type in (SPOT, FUTURES) if market_type not in self.markets(name) and exchanges[name].enabled
                  and (part := getattr(exchanges[name], market_type)) is not None and part.enabled]
        return [*self.faults, *lines]

    def describe(self) -> list[dict[str, Any]]:
        """Return one row for each plugin that was found: name, status (ok, disabled, refused), offers, origin, reason."""
        return [{"name": candidate.name, "status": candidate.status, "offers": candidate.offers, "origin": candidate.origin,
                 "reason": candidate.reason} for candidate in self.candidates]

    def register(self, hook: str, value: Any, owners: dict[str, str], owner: str) -> str:
        """Add one offered value and return its kind and name. Raises PluginError if another plugin offers the same name.

        owners: offer -> plugin; the new offer is added to it.
        """
        kind, store = _KINDS[hook]
        name = _name_of(value)
        offer = f"{kind} {name}"
        if offer in owners:
            raise PluginError(f"{kind} `{name}` is already offered by the plugin `{owners[offer]}`")
        owners[offer] = owner
        store(self, name, value)
        return offer


def load_plugins(config: Config) -> Plugins:
    """Import every plugin that is not disabled and return their offers. An error in a plugin is recorded and not raised."""
    plugins = Plugins()
    manager = _Manager("pumpwatch")
    manager.add_hookspecs(HookSpecs)
    owners: dict[str, str] = {}
    seen: dict[str, Candidate] = {}
    plugins.candidates += _candidates(config, plugins)
    exchanges = {name for name in config.plugins.disabled
                 if not any(candidate.is_called(name) for candidate in plugins.candidates)}
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
    for wheel in {candidate.wheel for candidate in plugins.candidates if candidate.wheel}:
        put_on_path(wheel, any(candidate.status != "disabled" for candidate in plugins.candidates if candidate.wheel == wheel))
    names = {name for candidate in plugins.candidates for name in (candidate.name, *candidate.exchanges)}
    plugins.faults += [f"plugins.disabled: no plugin is called `{name}`, and none offers an exchange of that name; "
                       f"{_known(name, names)}" for name in config.plugins.disabled if plugins.candidate(name) is None]
    for name, reason in plugins.problems:
        log.warning("plugin left out name=%s reason=%s", name, reason)
    for fault in plugins.faults:
        log.warning("invalid config reason=%s", fault)
    return plugins


def explain(error: BaseException) -> str:
    """Return an import error as one line, with the place in the plugin that raised it."""
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


class _Manager(pluggy.PluginManager):
    """Looks for hooks in a module directly: pluggy's own look at each of its names takes most of the time of loading plugins."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Return the options of a hook's implementation, None where the name is another thing."""
        if type(plugin) is ModuleType:
            found = vars(plugin).get(name)
            if not issubclass(type(found), _HOOKABLE) or not hasattr(found, f"{self.project_name}_impl"):
                return None
        return super().parse_hookimpl_opts(plugin, name)


def _adopt(plugins: Plugins, manager: pluggy.PluginManager, candidate: Candidate, owners: dict[str, str],
           disabled: set[str]) -> None:
    """Import and check one plugin, and register everything that it offers; register nothing if it offers a disabled exchange.

    disabled: the names in `plugins.disabled` that match no plugin, so they can only be exchanges. Raises PluginError, or any
    error of the plugin.
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
    """Return a hook's values as a list. Raises PluginError if one is not of the hook's type."""
    wanted: tuple[type[Any], ...] = {
        "exchange_venues": (Venue,), "sinks": (SinkPlugin,), "listing_sources": (ListingSource, MarketSource, PushSource),
        "paper_strategies": (StrategyPlugin,),
    }.get(hook, ())
    if not isinstance(values, (list, tuple)):
        raise PluginError(f"{hook} must return a list, not {type(values).__name__}")
    for value in values:
        if wanted and not isinstance(value, wanted):
            names = " or ".join(kind.__name__ for kind in wanted)
            raise PluginError(f"{hook} must return {names} values, not {type(value).__name__}")
    return list(values)


def _hook_problem(module: Any, error: Exception) -> str:
    """Return a message with the function that misspells a hook and the nearest hook."""
    for name in dir(module):
        if name not in _KINDS and getattr(getattr(module, name, None), "pumpwatch_impl", None) is not None:
            return f"`{name}` is not a hook; {_known(name, _KINDS)}"
    return one_line(str(error), 500)


def _candidates(config: Config, plugins: Plugins) -> Iterator[Candidate]:
    """Yield the installed plugins, then those in the plugin folder."""
    files = _usable_files(config.plugins.folder, plugins)
    points = [(point, wheel) for wheel in files if wheel.suffix == ".whl" for point in points_of(wheel)]
    in_wheels = {(point.name, point.value) for point, _ in points}
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        if (point.name, point.value) not in in_wheels:  # a wheel is on the path if plugins were loaded before
            yield Candidate(point.name, point.value, point.load, module=point.module)
    found = [Candidate(point.name, point.value, point.load, module=point.module, wheel=wheel) for point, wheel in points]
    for candidate in found:
        if candidate.wheel and not _is_disabled(candidate, config):
            put_on_path(candidate.wheel, True)
    yield from found
    for file in files:
        if file.suffix == ".py":
            yield Candidate(file.stem, str(file), partial(import_file, file))


def _usable_files(folder: str, plugins: Plugins) -> list[Path]:
    """Return the files of the plugin folder that may be loaded; the others are added to the problems or faults."""
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
    """Return the name that identifies an offer within its kind: its name, or exchange, market and variant of a venue."""
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
    "paper_strategies": ("strategy", lambda plugins, name, value: plugins.strategies.update({name: value})),
    "simulator_dialects": ("simulator", lambda plugins, name, value: plugins.dialects.append(value)),
}
