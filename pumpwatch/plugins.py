"""Find the plugins, check them, and gather what they offer.

Three ways in, treated alike: the entry-point group `pumpwatch.plugins` of anything installed, a wheel in the plugin
folder (`plugins.folder`), and a `.py` file in it. A plugin that cannot be imported, lacks a fact, misspells a hook or
offers what another already does is left out whole and named with the reason; the rest runs on.

This is the one place beside the supervisor that catches everything: importing a plugin runs other people's code.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import logging
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from pumpwatch.config import Config, ExchangeConfig, VenueConfig
from pumpwatch.errors import PluginError
from pumpwatch.hookspecs import HookSpecs, ListingSource, SinkPlugin
from pumpwatch.model import FUTURES, SPOT, Venue

log = logging.getLogger(__name__)

GROUP = "pumpwatch.plugins"


@dataclass(slots=True)
class Candidate:
    """A plugin by name: where it comes from, how to import it, and what became of it."""

    name: str
    origin: str
    load: Callable[[], Any]
    status: str = "ok"  # ok, disabled, or refused
    reason: str = ""
    offers: list[str] = field(default_factory=list)


class Plugins:
    """What all good plugins offer together."""

    def __init__(self) -> None:
        self.venues: list[Venue] = []
        self.sinks: dict[str, SinkPlugin] = {}
        self.sources: dict[str, ListingSource] = {}
        self.dialects: list[Any] = []  # pumpwatch.sim.dialect.Dialect, not imported here: a collector never needs it
        self.problems: list[tuple[str, str]] = []
        self.candidates: list[Candidate] = []

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

    def chosen(self, config: Config) -> list[tuple[Venue, VenueConfig]]:
        """Return the venues to collect, each with its part of the config: of the exchanges it names, else of all there are.

        Raises PluginError for a variant that no plugin offers.
        """
        offered = dict.fromkeys(venue.exchange for venue in self.venues)
        markets = {(venue.exchange, venue.market_type) for venue in self.venues}
        chosen = []
        for name, exchange in (config.exchanges or {name: ExchangeConfig() for name in offered}).items():
            for market_type in (SPOT, FUTURES):
                part: VenueConfig = getattr(exchange, market_type)
                if exchange.enabled and part.enabled and (name, market_type) in markets:
                    variant = f":{part.variant}" if part.variant else ""
                    chosen.append((self.venue(f"{name}.{market_type}{variant}"), part))
        return chosen

    def unmet(self, config: Config) -> list[str]:
        """Return a line for each exchange, sink or source that the config names and no plugin offers.

        An exchange or source whose plugin is disabled is not wanted; a sink is, as trades would go nowhere in silence.
        """
        disabled = set(config.plugins.disabled)
        wanted = (
            ("exchanges", config.exchanges.keys() - disabled, {venue.exchange for venue in self.venues}),
            ("sinks", config.sinks.keys(), set(self.sinks)),
            ("listing.sources", config.listing.sources.keys() - disabled, set(self.sources)),
        )
        return [f"{section}.{name}: {'its plugin is disabled' if name in disabled else 'no plugin offers it'}; "
                f"{_known(name, offered)}" for section, named, offered in wanted for name in sorted(named - offered)]

    def describe(self) -> list[dict[str, Any]]:
        """Return one row a plugin found: name, status (ok, disabled, refused), offers, origin, reason."""
        return [{"name": one.name, "status": one.status, "offers": one.offers, "origin": one.origin,
                 "reason": one.reason} for one in self.candidates]

    def take(self, hook: str, value: Any, owners: dict[str, str], owner: str) -> str:
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
    for candidate in _candidates(config.plugins.folder, plugins.problems):
        plugins.candidates.append(candidate)
        if candidate.name in config.plugins.disabled:
            candidate.status = "disabled"
            continue
        try:
            if candidate.name in seen:
                raise PluginError(f"the name is taken by {seen[candidate.name].origin}")
            seen[candidate.name] = candidate
            _adopt(plugins, manager, candidate, owners)
        except (Exception, SystemExit) as error:
            candidate.status, candidate.reason = "refused", explain(error)
            plugins.problems.append((candidate.name, candidate.reason))
    names = [candidate.name for candidate in plugins.candidates]
    for name in config.plugins.disabled:
        if name not in names:
            plugins.problems.append((name, f"plugins.disabled names it, but there is none; {_known(name, names)}"))
    for name, reason in plugins.problems:
        log.warning("plugin left out name=%s reason=%s", name, reason)
    return plugins


def explain(error: BaseException) -> str:
    """Return an import's failure as one line a plugin author can act on."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, PluginError):
        return text
    frame, trace = "", error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if not path.startswith("<") and path != __file__ and "importlib" not in path:
            frame = f" ({Path(path).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {text}{frame}"


def _adopt(plugins: Plugins, manager: pluggy.PluginManager, candidate: Candidate, owners: dict[str, str]) -> None:
    """Import, check and read one plugin; all that it offers is taken, or nothing."""
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
    trial, tried = Plugins(), dict(owners)
    for hook, value in offered:
        trial.take(hook, value, tried, candidate.name)
    candidate.offers = [plugins.take(hook, value, owners, candidate.name) for hook, value in offered]


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
    return " ".join(str(error).split())


def _candidates(folder: str, problems: list[tuple[str, str]]) -> Iterator[Candidate]:
    """Yield what is installed, then what lies in the plugin folder."""
    files: list[Path] = []
    if folder:
        path = Path(folder).expanduser()
        if path.is_dir():
            files = sorted(path.iterdir())
        else:
            problems.append((folder, "plugins.folder is no folder"))
    for wheel in files:
        if wheel.suffix == ".whl":
            reason = _wheel_problem(wheel)
            if reason:
                problems.append((wheel.name, reason))
            elif str(wheel) not in sys.path:
                sys.path.append(str(wheel))
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        yield Candidate(point.name, point.value, point.load)
    for file in files:
        if file.suffix == ".py" and not file.name.startswith("_"):
            yield Candidate(file.stem, str(file), lambda file=file: _import_file(file))  # type: ignore[misc]


def _wheel_problem(wheel: Path) -> str:
    """Return why a wheel cannot be used where it lies, or an empty string."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        return f"not a readable wheel: {error}"
    if any(name.endswith((".so", ".pyd")) for name in names):
        return "it holds compiled code, which cannot be run from inside a wheel: install it with pip"
    if not any(name.endswith(".dist-info/entry_points.txt") for name in names):
        return f"it has no entry points, so no `{GROUP}`"
    return ""


def _import_file(path: Path) -> ModuleType:
    name = f"pumpwatch_folder_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError("not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


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
