"""Check and load the files of the plugin folder.

Anyone who can write there can run code as the collector. So the folder, every file loaded from it and every folder above must
belong to root or to the user that runs PumpWatch, and nobody else may write to them. A sticky folder above, such as /tmp, is
also safe.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from pumpwatch.errors import PluginError

GROUP = "pumpwatch.plugins"


def why_unsafe(path: Path) -> str:
    """Return why another user could change the code in this path, and the remedy; an empty text if the path is safe."""
    for end in dict.fromkeys((path.absolute(), path.resolve())):
        for place in (end, *end.parents):
            reason = _why_open(place, above=place != end)
            if reason:
                return reason
    return ""


def _why_open(place: Path, *, above: bool) -> str:
    try:
        found = place.lstat()
    except OSError as error:
        return f"{place}: {error.strerror}"
    if found.st_uid not in (0, os.geteuid()):
        return f"{place} belongs to user {found.st_uid}, who could change it: give it to root or to the user that runs PumpWatch"
    if stat.S_ISLNK(found.st_mode) or not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ""
    if above and found.st_mode & stat.S_ISVTX:
        return ""
    return f"others may write to {place} (mode {stat.S_IMODE(found.st_mode):04o}): `chmod go-w {place}`"


def files_in(folder: Path) -> list[Path]:
    """Return the wheels and the `.py` files of a folder, sorted by name."""
    return sorted(path for path in folder.iterdir()
                  if path.suffix == ".whl" or (path.suffix == ".py" and not path.name.startswith("_")))


def why_not(file: Path) -> str:
    """Return why a file cannot be loaded, or an empty text."""
    compiled = Path(importlib.util.cache_from_source(str(file)))
    for path in (file, compiled.parent, compiled) if file.suffix == ".py" else (file,):
        reason = why_unsafe(path) if path == file or path.exists() else ""
        if reason:
            return reason
    return _why_not_wheel(file) if file.suffix == ".whl" else ""


def _why_not_wheel(wheel: Path) -> str:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        return f"not a readable wheel: {error}"
    if any(name.endswith((".so", ".pyd")) for name in names):
        return "it contains compiled code, which cannot be imported from inside a wheel: install it with pip"
    if not any(name.endswith(".dist-info/entry_points.txt") for name in names):
        return f"it has no entry points, so no `{GROUP}`"
    return ""


def points_of(wheel: Path) -> Iterator[importlib.metadata.EntryPoint]:
    """Yield the entry points of the plugins in a wheel. The wheel need not be on the import path."""
    for distribution in importlib.metadata.distributions(path=[str(wheel)]):
        yield from distribution.entry_points.select(group=GROUP)


def put_on_path(wheel: Path, wanted: bool) -> None:
    """Put a wheel on the import path, or remove it if it is not wanted."""
    if wanted and str(wheel) not in sys.path:
        sys.path.append(str(wheel))
    elif not wanted and str(wheel) in sys.path:
        sys.path.remove(str(wheel))


def import_file(path: Path) -> ModuleType:
    """Import a `.py` file under a unique module name. Raises any error of the file."""
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
