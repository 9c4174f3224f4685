"""Find the code of a strategy: in a plugin, by its name, or in a file."""

from __future__ import annotations

import hashlib
import inspect
import sys
from pathlib import Path

from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.paper.job import Source
from pumpwatch.plugins import Plugins


def find_source(wanted: str, plugins: Plugins) -> Source:
    """Return the code of a strategy. wanted: the name of a plugin's strategy, or a file, which ends in `.py` or has a `/`.

    Raises UsageError for an unreadable file, PluginError for an unknown name, PumpWatchError if the plugin's code is unreadable.
    """
    if wanted.endswith(".py") or "/" in wanted:
        return _of_file(Path(wanted))
    kind = plugins.strategy(wanted).create
    module = sys.modules[kind.__module__]
    try:
        return Source(name=wanted, file=inspect.getsourcefile(kind) or wanted, code=inspect.getsource(module),
                      class_name=kind.__qualname__)
    except (OSError, TypeError) as error:
        raise PumpWatchError(f"the code of the strategy `{wanted}` cannot be read: {error}") from error


def _of_file(path: Path) -> Source:
    try:
        return Source(name=path.stem, file=str(path), code=path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path}: the strategy cannot be read: {reason}",
                         "`pumpwatch paper new NAME` writes one; a name without `.py` means a plugin's strategy") from error


def checksum(source: Source) -> str:
    """Return the SHA-256 of a strategy's code in hexadecimal."""
    return hashlib.sha256(source.code.encode()).hexdigest()
