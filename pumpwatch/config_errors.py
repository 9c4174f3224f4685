"""Convert plain data into typed sections, with errors that name the place in the file or the variable of a wrong value."""

from __future__ import annotations

import difflib
import re
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args

import msgspec

from pumpwatch.errors import ConfigError
from pumpwatch.yaml_loader import YamlSource

T = TypeVar("T")


class ConfigSource(YamlSource):
    """The file of a config, and the environment variables that override its keys."""

    def __init__(self, name: str, text: str | None = None) -> None:
        super().__init__(name, text)
        self.variables: dict[str, str] = {}  # key's path -> variable

    def at(self, key: str) -> str:
        """Return `environment VARIABLE` for a key that a variable sets, else its place in the file."""
        variable = self._variable(key)
        return f"environment {variable}" if variable else super().at(key)

    def knows(self, key: str) -> bool:
        """Return whether the file or a variable sets the key."""
        return bool(self._variable(key)) or self.place(key) is not None

    def _variable(self, key: str) -> str:
        """Return the variable that sets the key or a section around it; else one inside it, if the file does not have the key."""
        steps = key.split(".")
        for length in range(len(steps), 0, -1):
            if variable := self.variables.get(".".join(steps[:length])):
                return variable
        if self.place(key) is not None:
            return ""
        return next((name for known, name in self.variables.items() if known.startswith(f"{key}.")), "")


def convert(raw: Any, struct: type[T], where: str | ConfigSource, prefix: str = "") -> T:
    """Convert plain data into `struct`. Raises ConfigError that names the wrong key, its origin and the allowed values."""
    try:
        return msgspec.convert(raw, struct, strict=True)
    except msgspec.ValidationError as error:
        at = re.search(r" - at `(?:key in )?\$(.*?)`$", str(error))
        steps = _real_steps(raw, struct, re.findall(r"\[[^\]]*\]|[^.\[]+", at.group(1)) if at else [])
        message = re.sub(r" - at `.*`$", "", str(error)).replace(" | null`", "`")
        key, text, hint = _explain(message, struct, steps, prefix)
        raise ConfigError(f"{where if isinstance(where, str) else where.at(key)}: {text}", hint) from error


def _explain(message: str, struct: type[Any], steps: list[tuple[str, bool]], prefix: str) -> tuple[str, str, str]:
    """Return the key's path, the message and the hint."""
    path = (prefix + ".".join(name for name, _ in steps)).rstrip(".")
    unknown = re.search(r"unknown field `(.*?)`", message)
    if not unknown:
        allowed = _choices_at(struct, steps)
        return path, f"{path or 'a key'}: {message[0].lower()}{message[1:]}", (
            f"allowed: {', '.join(map(str, allowed))}" if allowed else "see config/pumpwatch.yaml for every key")
    name = unknown.group(1)
    known = [field.encode_name for field in msgspec.structs.fields(_section(_type_at(struct, steps)))]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    key = f"{path}.{name}" if steps else f"{prefix}{name}"
    hint = f"did you mean `{near[0]}`? " if near else ""
    return key, f"unknown key `{key}`", f"{hint}known here: {', '.join(known)}"


def _real_steps(raw: Any, struct: type[Any], steps: list[str]) -> list[tuple[str, bool]]:
    """Return (name, whether it is an item of a mapping or list) of each step, with the real key where msgspec writes `[...]`."""
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
            current = next(kind_of(f) for f in msgspec.structs.fields(_section(current)) if f.encode_name == name)
    return current


def _section(kind: Any) -> Any:
    """Return the section among the types that a key may hold."""
    return next((part for part in get_args(kind) if _is_struct(part)), kind)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _choices_at(struct: type[Any], steps: list[tuple[str, bool]]) -> tuple[Any, ...]:
    kind = _type_at(struct, steps)
    if getattr(kind, "__origin__", None) is Union:
        return tuple(choice for part in get_args(kind) for choice in _choices_of(part))
    return _choices_of(kind) if getattr(kind, "__origin__", None) is Literal else ()


def _choices_of(kind: Any) -> tuple[Any, ...]:
    """Return the allowed values of a key; a list or a section is described in words."""
    if getattr(kind, "__origin__", None) is Literal:
        return get_args(kind)
    if _is_struct(kind):
        return ("{" + ", ".join(f"{field.encode_name}: N" for field in msgspec.structs.fields(kind)) + "}",)
    return ("a list",)


def kind_of(field: msgspec.structs.FieldInfo) -> Any:
    """Return a field's type without an optional None."""
    kind = field.type
    return next(part for part in get_args(kind) if part is not type(None)) if isinstance(kind, UnionType) else kind
