"""Every key of the configuration, typed; an unknown key is an error.

One YAML file, then the environment: `PUMPWATCH_STORE__DIR=/data` sets `store.dir`. A key or variable without a value
keeps its default ('""' is the empty text). `config/pumpwatch.yaml` shows every key at its default and a test keeps it equal
to this module. The sections `sinks.<name>` belong to their plugins and are read by `options_of`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
import yaml
from msgspec import Meta

from pumpwatch.errors import ConfigError

ENV_PREFIX = "PUMPWATCH_"

Positive = Annotated[float, Meta(gt=0)]
PositiveInt = Annotated[int, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]


class Section(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A mapping of the file."""


class VenueConfig(Section):
    """One market of an exchange. Empty addresses mean the plugin's own."""

    enabled: bool = True
    ws_url: str = ""
    rest_url: str = ""
    symbols: list[str] = []  # only these; empty: all that trade
    excluded: list[str] = []  # none of these
    symbols_per_connection: Count = 0  # at most, within what the venue allows; 0: usually 100, and some newcomers
    variant: str = ""  # another protocol the plugin offers for this venue


class ExchangeConfig(Section):
    enabled: bool = True
    spot: VenueConfig = msgspec.field(default_factory=VenueConfig)
    futures: VenueConfig = msgspec.field(default_factory=VenueConfig)


class NetConfig(Section):
    sweep_ms: Positive = 10.0
    window_sweep_ms: Positive = 1.0
    max_frame_bytes: PositiveInt = 4_194_304
    max_pending_bytes: PositiveInt = 33_554_432
    connect_timeout_s: Positive = 10.0
    proxy: str = ""
    ca_file: str = ""


class StoreConfig(Section):
    dir: str = "data"
    commit_ms: Positive = 90.0
    commit_trades: PositiveInt = 5000
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


class SourceConfig(Section):
    enabled: bool = True
    url: str = ""
    interval_s: Positive = 5.0


class ListingConfig(Section):
    window_s: Positive = 20.0
    fresh_s: Positive = 600.0
    archive_dir: str = "data"
    sources: dict[str, SourceConfig] = msgspec.field(default_factory=lambda: {"upbit": SourceConfig()})


class PluginsConfig(Section):
    folder: str = ""
    disabled: list[str] = []


class LogConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    summary_s: Positive = 60.0


class Config(Section):
    """The whole file."""

    exchanges: dict[str, ExchangeConfig] = {}  # only these; empty: every one that a plugin offers
    roster_refresh_s: Positive = 300.0
    symbols_file: str = "config/symbols.yaml"
    net: NetConfig = msgspec.field(default_factory=NetConfig)
    store: StoreConfig = msgspec.field(default_factory=StoreConfig)
    drain: DrainConfig = msgspec.field(default_factory=DrainConfig)
    sinks: dict[str, dict[str, Any]] = {}
    listing: ListingConfig = msgspec.field(default_factory=ListingConfig)
    plugins: PluginsConfig = msgspec.field(default_factory=PluginsConfig)
    log: LogConfig = msgspec.field(default_factory=LogConfig)


T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word, not a list or a mapping (put "
                                                        "quotes around a value that begins with { or [)",
                                                        key_node.start_mark)
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key `{key_node.value}` is given twice",
                                                        key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> dict[Any, Any]:
    """Read a YAML file that holds sections, or comments only. Raises ConfigError that names the file.

    A file without a character is refused: it is one that is not written yet, and its defaults are every real exchange.
    """
    try:
        written = path.read_text("utf-8")
        raw = _parse(written) or {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config file: {error.strerror}",
                          "give an existing file with -c, or leave -c out for the defaults") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not written.strip():
        raise ConfigError(f"{path} is empty", "is it still being written? leave -c out for the defaults")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: the file must be a mapping of sections, not {type(raw).__name__}")
    return raw


def _parse(text: str) -> Any:
    """Return what YAML text holds; raise ValueError in one line where it is none, or holds itself."""
    try:
        found = yaml.load(text, _Loader)
        _without_empty(found)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("an alias (*) stands within what it names, or it is nested too deeply") from None
    return found


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read a config file (None: defaults) and the environment.

    Raises ConfigError that names the file or the variable, the key's path, what is allowed and the nearest known key.
    """
    raw = _without_empty(read_mapping(path)) if path is not None else {}
    environ = os.environ if environ is None else environ
    given: dict[str, str] = {}  # key's path -> variable
    for name, text in sorted(environ.items()):
        if name.startswith(ENV_PREFIX) and text.strip():
            given[_set_from_environment(raw, name, text)] = name
    return convert(raw, Config, str(path) if path else "config", given=given)


def options_of(config: Config, section: str, name: str, options: type[T]) -> T:
    """Read a plugin's own part of the config (`sinks.questdb`) into its struct."""
    raw = getattr(config, section).get(name) or {}
    return convert(raw, options, "config", f"{section}.{name}.")


def convert(raw: Any, struct: type[T], where: str, prefix: str = "", given: Mapping[str, str] | None = None) -> T:
    """Turn plain data into `struct`, or say in one message which key is wrong and what it may be.

    `given` maps the keys that did not come from `where` to the environment variable that they came from.
    """
    try:
        return msgspec.convert(raw, struct, strict=True)
    except msgspec.ValidationError as error:
        at = re.search(r" - at `(?:key in )?\$(.*?)`$", str(error))
        steps = _real_steps(raw, struct, re.findall(r"\[[^\]]*\]|[^.\[]+", at.group(1)) if at else [])
        message = re.sub(r" - at `.*`$", "", str(error))
        key, text, hint = _explain(message, struct, steps, prefix)
        variable = next((name for known, name in (given or {}).items() if f"{known}.".startswith(f"{key}.")), None)
        raise ConfigError(f"{f'environment {variable}' if variable else where}: {text}", hint) from error


def _explain(message: str, struct: type[Any], steps: list[tuple[str, bool]], prefix: str) -> tuple[str, str, str]:
    """Return the key's path, the message and the hint."""
    path = (prefix + ".".join(name for name, _ in steps)).rstrip(".")
    unknown = re.search(r"unknown field `(.*?)`", message)
    if not unknown:
        allowed = _choices_at(struct, steps)
        return path, f"{path or 'a key'}: {message[0].lower()}{message[1:]}", (
            f"allowed: {', '.join(map(str, allowed))}" if allowed else "see config/pumpwatch.yaml for every key")
    name = unknown.group(1)
    known = [field.encode_name for field in msgspec.structs.fields(_type_at(struct, steps))]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    key = f"{path}.{name}" if steps else f"{prefix}{name}"
    hint = f"did you mean `{near[0]}`? " if near else ""
    return key, f"unknown key `{key}`", f"{hint}known here: {', '.join(known)}"


def _real_steps(raw: Any, struct: type[Any], steps: list[str]) -> list[tuple[str, bool]]:
    """Return (name, is a mapping's or list's own key) of each step, with the key that msgspec only calls `[...]`."""
    real: list[tuple[str, bool]] = []
    for step in steps:
        inside = raw.items() if isinstance(raw, dict) else enumerate(raw)
        own = step.startswith("[")
        if step == "[...]":
            kind = _type_at(struct, [*real, ("", True)])
            step, raw = next(((str(key), value) for key, value in inside if not _fits(value, kind)), ("?", None))
        else:
            step = step.strip("[]")
            raw = next((value for key, value in inside if str(key) == step), None)
        real.append((step, own))
    return real


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _type_at(struct: type[Any], steps: list[tuple[str, bool]]) -> Any:
    """Return the type that a path leads to."""
    current: Any = struct
    for name, own in steps:
        if own:
            current = current.__args__[-1]
        else:
            current = next(f.type for f in msgspec.structs.fields(current) if f.encode_name == name)
    return current


def _choices_at(struct: type[Any], steps: list[tuple[str, bool]]) -> tuple[Any, ...]:
    kind = _type_at(struct, steps)
    return get_args(kind) if getattr(kind, "__origin__", None) is Literal else ()


def _without_empty(raw: Any) -> Any:
    """Return the data without the keys that have no value, at any depth."""
    if isinstance(raw, list):
        return [_without_empty(value) for value in raw]
    if not isinstance(raw, dict):
        return raw
    return {key: _without_empty(value) for key, value in raw.items() if value is not None}


def _set_from_environment(raw: dict[str, Any], name: str, text: str) -> str:
    """Put one variable's value into the data and return the key's path."""
    steps = name.removeprefix(ENV_PREFIX).lower().split("__")
    place: Any = raw
    for section in steps[:-1]:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise ConfigError(f"environment {name}: `{section}` is not a section")
    try:
        place[steps[-1]] = _parse(text)
    except ValueError as error:
        raise ConfigError(f"environment {name}: not a valid value: {error}") from error
    return ".".join(steps)
