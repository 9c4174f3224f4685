"""Secrets of the config: written as `${NAME}` or `file:PATH`, read once, and never shown.

`${NAME}` anywhere in a value is the environment variable NAME; a value that begins with `file:` is the content of that file, on
one line. A relative path counts from the config file's folder.
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
SHORTEST = 4  # characters of a piece that is hidden: shorter ones are in every text

_variable = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_between = re.compile(r"[/:@?&=#,\s]+")


def secret_value(text: str, where: str, folder: Path, environ: Mapping[str, str] | None = None) -> str:
    """Return a value with its secrets in it. where: its place and key, for messages.

    Raises ConfigError, which shows no part of the value, for a variable that is not set and a file that cannot be read.
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
    """Return whether a value holds its secret itself, neither as a variable nor as a file."""
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
    """Return a text in which every piece of these values of at least SHORTEST characters is hidden.

    A piece is what stands between the signs that separate the parts of a URL, except the scheme. It is hidden as well with its
    characters written as `%20`, or read from that, as libraries show them.
    """
    pieces: set[str] = set()
    for secret in secrets:
        for form in (secret, unquote(secret), quote(unquote(secret), ":/?#&=@")):
            pieces.update(_between.split(form.partition("://")[2] or form), (form,))
    for piece in sorted(filter(lambda piece: len(piece) >= SHORTEST, pieces), key=len, reverse=True):
        text = text.replace(piece, HIDDEN)
    return text
