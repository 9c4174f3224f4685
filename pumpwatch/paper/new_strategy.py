"""Write a new strategy: one commented file that runs as it is, and is also a plugin."""

from __future__ import annotations

import keyword
from importlib.resources import files
from pathlib import Path

from pumpwatch.errors import UsageError

TEMPLATE = "strategy.py.txt"


def write_strategy(name: str, folder: Path) -> Path:
    """Write `NAME.py` into a folder; return its path. Raises UsageError for an invalid name or an existing file; OSError."""
    if not name.isidentifier() or not name.isascii() or not name.islower() or keyword.iskeyword(name) or len(name) > 40:
        raise UsageError(f"`{name}` is not a name for a strategy", "use small letters, digits and `_`, as in `buy_dips`")
    path = folder / f"{name}.py"
    text = files("pumpwatch.paper").joinpath(TEMPLATE).read_text("utf-8")
    class_name = "".join(word.capitalize() for word in name.split("_")) or "Mine"
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(text.replace("CLASS", class_name).replace("NAME", name))
    except FileExistsError:
        raise UsageError(f"{path} exists already", "give another name, or another folder with --dir") from None
    return path
