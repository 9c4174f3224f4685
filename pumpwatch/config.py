"""Read the configuration: every key is typed, and an unknown key is an error.

The environment overrides the YAML file: `PUMPWATCH_STORE__DIR=/data` sets `store.dir`. A key or variable without a value keeps
its default ('""' is the empty text); an exchange, sink or source without a value has its defaults. `config/pumpwatch.yaml`
shows every key at its default, and a test compares it with this module. The sections `sinks.<name>` belong to their plugins;
`options_of` reads them.

A key named `dir`, `file` or `folder`, or ending in `_dir`, `_file` or `_folder`, holds a path. A relative path in the file is
relative to the file's folder. A relative path from the environment or a default is relative to the working directory. `load`
makes all of them absolute.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from pumpwatch.config_alerts import AlertsConfig
from pumpwatch.config_api import ApiConfig
from pumpwatch.config_backup import BackupConfig, check_backup
from pumpwatch.config_cluster import ClusterConfig, check_cluster
from pumpwatch.config_disk import DiskConfig, MemoryConfig, check_disk
from pumpwatch.config_errors import ConfigSource, convert, kind_of
from pumpwatch.config_listing import ChannelConfig, ListingConfig, SourceConfig, WindowConfig
from pumpwatch.config_log import LogConfig, check_log
from pumpwatch.config_market import MarketConfig
from pumpwatch.config_paper import PaperConfig, check_paper
from pumpwatch.config_redis import RedisConfig, check_redis
from pumpwatch.config_rollout import RolloutConfig, check_rollout
from pumpwatch.config_section import Count, Folder, Positive, PositiveInt, Section
from pumpwatch.errors import ConfigError
from pumpwatch.net.address import check_address
from pumpwatch.net.proxy import parse_proxy
from pumpwatch.yaml_loader import InvalidYaml, parse

ENV_PREFIX = "PUMPWATCH_"


class TopByVolume(Section):
    """The symbols with the largest volumes."""

    top: PositiveInt


class VenueConfig(Section):
    """One market of an exchange. An empty address means the plugin's default."""

    enabled: bool = True
    ws_url: str = ""
    rest_url: str = ""
    symbols: list[str] = []  # only these; empty: all that trade
    excluded: list[str] = []  # never these
    coins: list[str] = []  # only symbols of these coins: PEPE means PEPEUSDT and 1000PEPEUSDT; empty: all
    symbols_per_connection: Count = 0  # at most, within the venue's limit; 0: usually 100, plus a few new symbols
    variant: str = ""  # another protocol the plugin offers for this venue
    redundancy: Literal[1, 2] | list[str] | TopByVolume = 1  # connections that read each symbol; or the symbols that two read


class ExchangeConfig(Section):
    """An exchange. A market without a section (None) is collected with its defaults if the exchange has it."""

    enabled: bool = True
    spot: VenueConfig | None = None
    futures: VenueConfig | None = None

    def market(self, market_type: str) -> VenueConfig:
        """Return the options of a market, or its defaults."""
        return getattr(self, market_type) or VenueConfig()


class NetConfig(Section):
    sweep_ms: Positive = 10.0
    sparse_sweep_ms: Positive = 90.0
    window_sweep_ms: Positive = 1.0
    max_frame_bytes: PositiveInt = 4_194_304
    max_pending_bytes: PositiveInt = 33_554_432
    connect_timeout_s: Positive = 10.0
    proxy: str = ""
    ca_file: str = ""


class StoreConfig(Section):
    dir: Folder = "data"
    commit_ms: Positive = 90.0
    commit_trades: PositiveInt = 2000
    recent_minutes: PositiveInt = 20
    retention_hours: Positive = 72.0
    max_bytes: PositiveInt = 50_000_000_000
    memory_limit_trades: PositiveInt = 2_000_000
    quarantine_bytes: PositiveInt = 200_000_000


class DrainConfig(Section):
    flush_ms: Positive = 1000.0
    flush_rows: PositiveInt = 20_000
    catch_up_rows: PositiveInt = 100_000
    memory_rows: PositiveInt = 300_000


class BackfillConfig(Section):
    enabled: bool = True
    reach_h: Positive = 24.0
    budget: Annotated[float, Meta(gt=0, le=1)] = 0.8
    concurrency: PositiveInt = 2
    settle_s: Positive = 5.0
    aggregated: bool = False


class ReportsConfig(Section):
    enabled: bool = True
    keep_days: PositiveInt = 90


class PluginsConfig(Section):
    folder: str = ""
    disabled: list[str] = []


class Keys(Section):
    """The whole file."""

    exchanges: dict[str, ExchangeConfig] = {}  # only these; empty: every exchange that a plugin offers
    roster_refresh_s: Positive = 300.0
    symbols_file: str = "config/symbols.yaml"
    net: NetConfig = msgspec.field(default_factory=NetConfig)
    store: StoreConfig = msgspec.field(default_factory=StoreConfig)
    drain: DrainConfig = msgspec.field(default_factory=DrainConfig)
    disk: DiskConfig = msgspec.field(default_factory=DiskConfig)
    memory: MemoryConfig = msgspec.field(default_factory=MemoryConfig)
    backfill: BackfillConfig = msgspec.field(default_factory=BackfillConfig)
    sinks: dict[str, dict[str, Any]] = {}
    rollout: RolloutConfig = msgspec.field(default_factory=RolloutConfig)
    redis: RedisConfig = msgspec.field(default_factory=RedisConfig)
    cluster: ClusterConfig = msgspec.field(default_factory=ClusterConfig)
    listing: ListingConfig = msgspec.field(default_factory=ListingConfig)
    notify: dict[str, ChannelConfig] = {}
    alerts: AlertsConfig = msgspec.field(default_factory=AlertsConfig)
    api: ApiConfig = msgspec.field(default_factory=ApiConfig)
    market: MarketConfig = msgspec.field(default_factory=MarketConfig)
    paper: PaperConfig = msgspec.field(default_factory=PaperConfig)
    reports: ReportsConfig = msgspec.field(default_factory=ReportsConfig)
    backup: BackupConfig = msgspec.field(default_factory=BackupConfig)
    plugins: PluginsConfig = msgspec.field(default_factory=PluginsConfig)
    log: LogConfig = msgspec.field(default_factory=LogConfig)


class Config(Keys, dict=True):
    """The whole configuration, including environment options for exchanges and sources that the file does not choose."""

    overrides: dict[str, ExchangeConfig] = {}  # options for exchanges that are not chosen
    idle_sources: dict[str, SourceConfig] = {}  # options for listing sources that are not chosen
    writes_symbols: bool = True  # false: the symbols file is only read

    def changed(self, **values: Any) -> Config:
        """Return a copy with these values that keeps its source."""
        other = msgspec.structs.replace(self, **values)
        other.__dict__.update(self.__dict__)
        return other

    def exchange(self, name: str) -> ExchangeConfig:
        """Return the options of an exchange, or its defaults."""
        return self.exchanges.get(name) or self.overrides.get(name) or ExchangeConfig()

    @property
    def source(self) -> ConfigSource:
        """Return the file and the variables that the configuration was read from, for messages."""
        return self.__dict__.get("_source") or ConfigSource("config")

    def located(self, messages: Iterable[str]) -> list[str]:
        """Prefix messages of the form `key: problem` with the place in the file, or the variable, that sets the key."""
        keys = {message: message.partition(":")[0] for message in messages}
        return [f"{self.source.at(key)}: {message}" if self.source.knows(key) else message for message, key in keys.items()]


T = TypeVar("T")
PATHS = re.compile(r"(?:\w+_)?(?:dir|file|folder)")  # names of keys that hold a path


def read_mapping(path: Path) -> dict[Any, Any]:
    """Read a YAML file of sections; a file of comments is an empty mapping. Raises ConfigError with file, line and column.

    A blank file is an error: it may still be being written, and its defaults would be every real exchange.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[Any, Any], ConfigSource]:
    try:
        written = path.read_text("utf-8")
        raw = _parse(written) or {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config file: {error.strerror}",
                          "give an existing file with -c, or leave -c out for the defaults") from error
    except InvalidYaml as error:
        place = f"{path}:{error.line}:{error.column}" if error.line else path
        raise ConfigError(f"{place}: not valid YAML: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not written.strip():
        raise ConfigError(f"{path} is empty", "is it still being written? leave -c out for the defaults")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}:1:1: the file must be a mapping of sections, not {type(raw).__name__}")
    return raw, ConfigSource(str(path), written)


def _parse(text: str) -> Any:
    """Return the data of YAML text. Raises InvalidYaml with a message of one line, also if the data contain themselves."""
    try:
        found = parse(text)
        _filled(found, Any)
    except RecursionError:
        raise InvalidYaml("an alias (*) contains itself, or the nesting is too deep") from None
    return found


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read a config file (None: defaults) and the environment; every path in the result is absolute.

    Raises ConfigError that names the place in the file or the variable, the key, the allowed values and the nearest known key.
    """
    raw, source = _read(path) if path is not None else ({}, ConfigSource("config"))
    raw = _filled(raw, Keys)
    make_absolute(raw, path.absolute().parent if path is not None else Path.cwd())
    environ = os.environ if environ is None else environ
    beside: set[tuple[str, str]] = set()  # each (section, entry) that only a variable names
    for name in sorted(environ, key=lambda name: (name.count("__"), name)):  # sections before their keys
        if not name.startswith(ENV_PREFIX) or not environ[name].strip():
            continue
        steps = name.removeprefix(ENV_PREFIX).lower().split("__")
        beside |= _not_chosen(raw, steps)
        _set_from_environment(raw, steps, name, environ[name])
        raw = _filled(raw, Keys)
        source.variables[".".join(steps)] = name
    keys = convert(raw, Keys, source)
    found = Config(**{name: getattr(keys, name) for name in keys.__struct_fields__})
    found.__dict__["_source"] = source
    _check_addresses(found, source)
    _check_windows(found, source)
    check_disk(found.disk, source)
    check_log(found.log, source)
    check_backup(found.backup, source, found.sinks, bool(found.redis.nodes))
    check_rollout(found.rollout, found.sinks, source)
    check_paper(found.paper, source)
    check_redis(found.redis, source)
    check_cluster(found.cluster, found.redis.nodes, source)
    make_absolute(found, Path.cwd())  # only defaults are still relative
    for section, name in sorted(beside):
        if section == "exchanges":
            found.overrides[name] = found.exchanges.pop(name)
        else:
            found.idle_sources[name] = found.listing.sources.pop(name)
    return found


def _not_chosen(raw: dict[str, Any], steps: list[str]) -> set[tuple[str, str]]:
    """Return the exchange or listing source that a variable names, if the config does not choose it; else an empty set."""
    for section, named in (("exchanges", {}), ("listing.sources", msgspec.to_builtins(ListingConfig().sources))):
        inside = section.split(".")
        place: Any = raw
        for step in inside:
            place = place.get(step) if isinstance(place, dict) else None
        named = named if place is None else place
        if steps[:-1][: len(inside)] == inside and isinstance(named, dict) and steps[len(inside)] not in named:
            return {(section, steps[len(inside)])}
    return set()


def _check_addresses(found: Keys, source: ConfigSource) -> None:
    """Raise ConfigError for an invalid address of a service or proxy; the message shows no password."""
    def at(key: str) -> str:
        return f"{source.at(key)}: {key}"

    if found.net.proxy:
        parse_proxy(found.net.proxy, at("net.proxy"))
    web, sockets = ("http", "https"), ("ws", "wss")
    urls: list[tuple[str, str, tuple[str, ...]]] = [
        (f"exchanges.{name}.{kind}.{key}", getattr(exchange.market(kind), key), schemes)
        for name, exchange in found.exchanges.items() for kind in ("spot", "futures")
        for key, schemes in (("ws_url", sockets), ("rest_url", web))]
    urls += [(f"listing.sources.{name}.url", board.url, web + sockets) for name, board in found.listing.sources.items()]
    for key, url, schemes in urls:
        if url:
            check_address(url, at(key), *schemes)


def _check_windows(found: Keys, source: ConfigSource) -> None:
    """Raise ConfigError unless each longer window contains the previous one and is shorter than the retention of trades."""
    last = WindowConfig(before_s=found.listing.before_s, after_s=found.listing.after_s)
    for number, window in enumerate(found.listing.longer_windows):
        key = f"listing.longer_windows.{number}"
        problem = ""
        if window.after_s <= last.after_s:
            problem = f"after_s must be more than {last.after_s:g}, the value of the previous window"
        elif window.before_s < last.before_s:
            problem = f"before_s must be at least {last.before_s:g}, the value of the previous window"
        elif window.before_s + window.after_s >= found.store.retention_hours * 3600:
            problem = f"must be shorter than store.retention_hours, {found.store.retention_hours:g} h"
        if problem:
            raise ConfigError(f"{source.at(key)}: {key}: {problem}",
                              "list the longer windows from the shortest to the longest; store.retention_hours limits them")
        last = window


def options_of(config: Config, section: str, name: str, options: type[T]) -> T:
    """Read a plugin's section of the config (`sinks.questdb`) into its struct. Raises ConfigError for invalid options."""
    raw = getattr(config, section).get(name) or {}
    return convert(raw, options, config.source, f"{section}.{name}.")


def source_options(config: Config, source: Any) -> Any:
    """Return the options of a push source, or None for a source without options. Raises ConfigError for invalid options."""
    part = config.listing.sources.get(source.name) or SourceConfig()
    prefix = f"listing.sources.{source.name}.options."
    if source.options is None and part.options:
        raise ConfigError(f"{config.source.at(prefix[:-1])}: {prefix[:-1]}: the source has no options")
    return None if source.options is None else convert(part.options, source.options, config.source, prefix)


def _filled(raw: Any, kind: Any) -> Any:
    """Return the data without keys that have no value; a section or an entry without a value stays, with its defaults."""
    if isinstance(raw, list):
        return [_filled(value, Any) for value in raw]
    if not isinstance(raw, dict):
        return raw
    by_name = get_origin(kind) is dict  # its keys are names of entries, not of fields
    kinds = {field.encode_name: kind_of(field) for field in msgspec.structs.fields(kind)} if _is_section(kind) else {}
    filled = {}
    for key, value in raw.items():
        inner = get_args(kind)[1] if by_name else kinds.get(key, Any)
        if value is None and (_is_section(inner) or (by_name and get_origin(inner) is dict)):
            value = {}
        if value is not None:
            filled[key] = _filled(value, inner)
    return filled


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def make_absolute(place: Any, base: Path) -> None:
    """Make every path in a section or in plain data absolute, relative to `base`; an empty path stays empty."""
    struct = isinstance(place, Section)
    put = place.__setattr__ if struct else place.__setitem__
    for name in place.__struct_fields__ if struct else list(place):
        value = getattr(place, name) if struct else place[name]
        if isinstance(value, str) and value and PATHS.fullmatch(str(name)):
            if "\0" in value:
                raise ConfigError(f"{name}: a path cannot hold a zero byte")
            value = str(base / (Path.home() / value[2:] if value == "~" or value.startswith("~/") else value))
            put(name, value)
        elif isinstance(value, (dict, Section)):
            make_absolute(value, base)


def _set_from_environment(raw: dict[str, Any], steps: list[str], name: str, text: str) -> None:
    """Set the key of one variable in the data; the other keys of its section keep their defaults."""
    place, known = raw, msgspec.to_builtins(Keys())
    for section in steps[:-1]:
        known = known.get(section, {}) if isinstance(known, dict) else {}
        place = place.setdefault(section, known)
        if not isinstance(place, dict):
            raise ConfigError(f"environment {name}: `{section}` is not a section")
    try:
        given = {steps[-1]: _parse(text)}
    except ValueError as error:
        raise ConfigError(f"environment {name}: not a valid value: {error}") from error
    make_absolute(given, Path.cwd())
    place |= given
