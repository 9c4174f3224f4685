"""From a notice to an archive: titles, watch, window, archive, analysis.

What the commands call loads on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {"titles_command": "titles", "drop": "inbox", "replay": "review", "show": "review"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
