"""The simulator's kinds of fault, as table rows and as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch.commands.table import Column, Row
from pumpwatch.sim.faults import FORMS_OF, KINDS
from pumpwatch.sim.options import FaultOptions

FAULTS = (Column("kind"), Column("hits"), Column("keys", wraps=True))
PLACE = ("connection", "connections")  # keys of each fault that hits connections
ABOUT = ("each fault takes `venue`, an exchange and a market with a dot between; without it the fault hits all venues",
         "a fault of connections takes `connection` (a number) or `connections` (how many); without both it hits all of them",
         "in the config file's list `faults`, `at_s` is the time of the fault in seconds after the start of trading")


def fault_rows() -> list[Row | str]:
    """Return a row of FAULTS for each kind, with its effect and forms below it."""
    rows: list[Row | str] = []
    for name, kind in KINDS.items():
        rows += [[name, "connections" if kind.hits_connections else "requests", ", ".join(map(_key, kind.keys)) or "-"],
                 kind.effect]
        rows += [f"form: {', '.join(FORMS_OF[name][1])}"] if "form" in kind.keys else []
    return rows


def _key(name: str) -> str:
    """Return a key with its default: `seconds (5)`."""
    default: Any = {field.name: field.default for field in msgspec.structs.fields(FaultOptions)}[name]
    return name if default in ("", msgspec.NODEFAULT) else f"{name} ({default:g})" if isinstance(default, float) else (
        f"{name} ({default})")


def faults_json() -> list[dict[str, Any]]:
    """Return an object for each kind, with stable keys."""
    return [{"kind": name, "hits": "connections" if kind.hits_connections else "requests",
             "keys": ["venue", *(PLACE if kind.hits_connections else ()), *kind.keys], "effect": kind.effect,
             "forms": list(FORMS_OF[name][1]) if "form" in kind.keys else []} for name, kind in KINDS.items()]
