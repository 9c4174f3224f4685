"""Every key of the configuration, typed; an unknown key is an error.

One YAML file, then the environment: `PUMPWATCH_STORE__DIR=/data` sets `store.dir`. `config/pumpwatch.yaml` shows every
key at its default and a test keeps it equal to this module. The sections `sinks.<name>` belong to their plugins
and are read by `options_of`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from pumpwatch.errors import ConfigError

ENV_PREFIX = "PUMPWATCH_"


class Section(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A mapping of the file."""


class VenueConfig(Section):
    """One market of an exchange. Empty addresses mean the plugin's own."""

    enabled: bool = True
    ws_url: str = ""
    rest_url: str = ""
    symbols: list[str] = []  # only these; empty: all that trade
    symbols_per_connection: int = 0  # fewer than the venue allows; 0: as many as it allows
    variant: str = ""  # another protocol the plugin offers for this venue


class ExchangeConfig(Section):
    enabled: bool = True
    spot: VenueConfig = msgspec.field(default_factory=VenueConfig)
    futures: VenueConfig = msgspec.field(default_factory=VenueConfig)


class NetConfig(Section):
    sweep_ms: float = 10.0
    window_sweep_ms: float = 1.0
    max_frame_bytes: int = 4_194_304
    max_pending_bytes: int = 33_554_432
    connect_timeout_s: float = 10.0
    proxy: str = ""
    ca_file: str = ""


class StoreConfig(Section):
    dir: str = "data"
    commit_ms: float = 70.0
    commit_trades: int = 5000
    recent_minutes: int = 20
    retention_hours: float = 72.0
    max_bytes: int = 50_000_000_000
    memory_limit_trades: int = 2_000_000


class DrainConfig(Section):
    flush_ms: float = 1000.0
    flush_rows: int = 20_000
    catch_up_rows: int = 100_000
    memory_rows: int = 300_000


class SourceConfig(Section):
    enabled: bool = True
    url: str = ""
    interval_s: float = 5.0


class ListingConfig(Section):
    window_s: float = 20.0
    fresh_s: float = 600.0
    archive_dir: str = "data"
    sources: dict[str, SourceConfig] = msgspec.field(default_factory=lambda: {"upbit": SourceConfig()})


class PluginsConfig(Section):
    folder: str = ""
    disabled: list[str] = []


class LogConfig(Section):
    level: str = "info"
    summary_s: float = 60.0


class Config(Section):
    """The whole file."""

    exchanges: dict[str, ExchangeConfig] = msgspec.field(default_factory=lambda: {"binance": ExchangeConfig()})
    roster_refresh_s: float = 300.0
    net: NetConfig = msgspec.field(default_factory=NetConfig)
    store: StoreConfig = msgspec.field(default_factory=StoreConfig)
    drain: DrainConfig = msgspec.field(default_factory=DrainConfig)
    sinks: dict[str, dict[str, Any]] = {}
    listing: ListingConfig = msgspec.field(default_factory=ListingConfig)
    plugins: PluginsConfig = msgspec.field(default_factory=PluginsConfig)
    log: LogConfig = msgspec.field(default_factory=LogConfig)


T = TypeVar("T")


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read a config file (None: defaults) and the environment.

    Raises ConfigError that names the file, the key's path, what is allowed and the nearest known key.
    """
    raw: Any = {}
    if path is not None:
        try:
            raw = yaml.safe_load(path.read_text("utf-8")) or {}
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the config file: {error.strerror}",
                              "give an existing file with -c, or leave -c out for the defaults") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: the file must be a mapping of sections, not {type(raw).__name__}")
    environ = os.environ if environ is None else environ
    for name, text in sorted(environ.items()):
        if name.startswith(ENV_PREFIX):
            _set_from_environment(raw, name, text)
    return convert(raw, Config, str(path) if path else "defaults and environment")


def options_of(config: Config, section: str, name: str, options: type[T]) -> T:
    """Read a plugin's own part of the config (`sinks.questdb`) into its struct."""
    raw = getattr(config, section).get(name) or {}
    return convert(raw, options, "config", f"{section}.{name}.")


def convert(raw: Any, struct: type[T], where: str, prefix: str = "") -> T:
    """Turn plain data into `struct`, or say in one message which key is wrong and what it may be."""
    try:
        return msgspec.convert(raw, struct, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(*_explain(str(error), struct, where, prefix)) from error


def _explain(text: str, struct: type[Any], where: str, prefix: str) -> tuple[str, str]:
    at = re.search(r" - at `(?:key in )?\$(.*?)`$", text)
    path = at.group(1).lstrip(".") if at else ""
    message = re.sub(r" - at `.*`$", "", text)
    unknown = re.search(r"unknown field `(.*?)`", message)
    if not unknown:
        return f"{where}: {prefix}{path}: {message[0].lower()}{message[1:]}", "see config/pumpwatch.yaml for every key"
    name = unknown.group(1)
    known = _keys_at(struct, path)
    near = difflib.get_close_matches(name, known, 1, 0.5)
    key = f"{prefix}{path}.{name}" if path else f"{prefix}{name}"
    hint = f"did you mean `{near[0]}`? " if near else ""
    return f"{where}: unknown key `{key}`", f"{hint}known here: {', '.join(known)}"


def _keys_at(struct: type[Any], path: str) -> list[str]:
    """Return the field names of the struct that a dotted path leads to; `[...]` stands for any key of a mapping."""
    current: Any = struct
    for step in re.findall(r"\[\.\.\.\]|[^.\[]+", path):
        if step == "[...]":
            current = current.__args__[-1]
        else:
            current = next(f.type for f in msgspec.structs.fields(current) if f.encode_name == step)
    return [f.encode_name for f in msgspec.structs.fields(current)]


def _set_from_environment(raw: dict[str, Any], name: str, text: str) -> None:
    *sections, key = name.removeprefix(ENV_PREFIX).lower().split("__")
    place: Any = raw
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise ConfigError(f"environment {name}: `{section}` is not a section")
    place[key] = yaml.safe_load(text)
