"""Write a package for a new exchange: a working plugin, its entry point, its tests and a README."""

from __future__ import annotations

import importlib.resources
import keyword
import re
import shutil
import string
import tempfile
from pathlib import Path

from pumpwatch import __version__
from pumpwatch.config import Config
from pumpwatch.errors import UsageError
from pumpwatch.plugins import load_plugins

NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
LONGEST = 30
FILES = {  # template -> its place in the package
    "plugin.py.txt": "pumpwatch_${name}.py",
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "test_plugin.py.txt": "tests/test_${name}.py",
    "frames.jsonl.txt": "tests/frames.jsonl",
    "expected.jsonl.txt": "tests/expected.jsonl",
    "instruments.json.txt": "tests/instruments.json",
    "history.json.txt": "tests/history.json",
}


def new_plugin(name: str, parent: Path, config: Config, *, futures: bool = False) -> list[Path]:
    """Write the package into `parent/pumpwatch-NAME` and return its files.

    It has a spot market and, with `futures`, a futures market. The folder appears complete or not at all. Raises UsageError
    for a name that is invalid or taken, and if the folder exists.
    """
    _check_name(name, config)
    target = parent / f"pumpwatch-{name.replace('_', '-')}"
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} already exists", "choose another name or --dir, or remove it first")
    parent.mkdir(parents=True, exist_ok=True)
    words = {"name": name, "package": target.name, "version": __version__,
             "markets": "SPOT, FUTURES" if futures else "SPOT,", "market_words": "spot and futures" if futures else "spot",
             "market_imports": "    FUTURES,\n    SPOT," if futures else "    SPOT,"}
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=parent) as folder:
        made = Path(folder) / target.name
        for template, place in FILES.items():
            file = made / string.Template(place).substitute(words)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(string.Template(_read(template)).substitute(words), "utf-8")
        shutil.move(made, target)
    return sorted(path for path in target.rglob("*") if path.is_file())


def _read(template: str) -> str:
    return (importlib.resources.files("pumpwatch.plugin_kit") / "template" / template).read_text("utf-8")


def _check_name(name: str, config: Config) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(name):
        raise UsageError(f"`{name}` cannot be the name of a plugin",
                         f"use lower-case letters, digits and single underscores, a letter first, at most {LONGEST} characters; "
                         "it becomes the exchange's name in configs and archives")
    plugins = load_plugins(config)
    taken = {candidate.name: candidate.origin for candidate in plugins.candidates}
    taken |= {venue.exchange: "one of its venues" for venue in plugins.venues if venue.exchange not in taken}
    if name in taken:
        raise UsageError(f"the name `{name}` is taken: {taken[name]}", "see `pumpwatch plugins list`")
