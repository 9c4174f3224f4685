"""Secrets of the config: written as `${NAME}` or `file:PATH`, read once, and never shown.

`${NAME}` anywhere in a value is replaced by the environment variable NAME. A value that begins with `file:` is replaced by that
file's content, one line. A relative path is resolved against the config file's folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from pumpwatch.errors import ConfigError
from pumpwatch.net.texts import HIDDEN

IN_FILE = "file:"
LARGEST_BYTES = 65_536
SHORTEST = 4  # characters; shorter pieces are not hidden, since they occur in any text

_variable = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_between = re.compile(r"[/:@?&=#,\s]+")


def secret_value(text: str, where: str, folder: Path, environ: Mapping[str, str] | None = None) -> str:
    """Return a value with its secrets filled in. where: its place and key, for messages.

    Raises ConfigError, which reveals no part of the value, if a variable is not set or a file cannot be read.
    """
    environ = os.environ if environ is None else environ
    if text.startswith(IN_FILE):
        return _content(secret_file(text, folder), where)
    for name in _variable.findall(text):
        if not environ.get(name):
            raise ConfigError(f"{where}: the environment variable {name} is not set", "set it, or write file:PATH instead")
    return _variable.sub(lambda found: environ[found[1]], text)


def secret_file(text: str, folder: Path) -> Path:
    """Return the path of a value that begins with `file:`."""
    return folder / Path(text.removeprefix(IN_FILE)).expanduser()


def is_literal(text: str) -> bool:
    """Return whether the secret itself is written in the config, not a variable or a file."""
    return bool(text) and not text.startswith(IN_FILE) and _variable.search(text) is None


def _content(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1).decode().strip()
    except OSError as error:
        raise ConfigError(f"{where}: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: {path} is not UTF-8 text") from None
    if not content or len(content.splitlines()) > 1 or len(content) > LARGEST_BYTES:
        raise ConfigError(f"{where}: {path} must hold the secret on one line, and nothing else")
    return content


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every piece of these secrets hidden that has at least SHORTEST characters.

    A piece is the text between two separators of a URL; the scheme is not hidden. Percent-encoded and decoded forms of a piece
    are hidden too, since libraries show either.
    """
    pieces: set[str] = set()
    for secret in secrets:
        for form in (secret, unquote(secret), quote(unquote(secret), ":/?#&=@")):
            pieces.update(_between.split(form.partition("://")[2] or form), (form,))
    for piece in sorted(filter(lambda piece: len(piece) >= SHORTEST, pieces), key=len, reverse=True):
        text = text.replace(piece, HIDDEN)
    return text
