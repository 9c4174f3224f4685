"""Find secrets that every user of the machine can read, in the config file or in a file that it names."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pumpwatch.config import Config
from pumpwatch.notify.secret_values import IN_FILE, is_literal, secret_file

PASSWORD_IN_DSN = re.compile(r"://[^/@]*:[^/@]+@|\bpassword\s*=")


def exposed_secrets(config: Config) -> list[tuple[str, str]]:
    """Return (key, reason) of each secret that every user can read. Values from the environment are not exposed."""
    if not config.source.is_file:
        return []
    written = Path(config.source.name).absolute()
    found: list[tuple[str, str]] = []
    for key, value in _secrets(config):
        if config.source.at(key).startswith("environment "):
            continue
        if value.startswith(IN_FILE):
            path = secret_file(value, written.parent)
        elif is_literal(value) and not (key.endswith(".webhook") and _is_plain(value)):
            path = written
        else:
            continue
        if _is_open(path):
            found.append((key, f"{path} is readable by others"))
    return found


def exposed_by_file(config: Config) -> dict[str, list[str]]:
    """Return the keys of exposed secrets grouped by reason, so that a file is named once."""
    found: dict[str, list[str]] = {}
    for key, reason in exposed_secrets(config):
        found.setdefault(reason, []).append(key)
    return found


def _secrets(config: Config) -> Iterator[tuple[str, str]]:
    for name, channel in config.notify.items():
        yield from ((f"notify.{name}.{key}", getattr(channel, key)) for key in ("url", "webhook", "secret"))
    for name, source in config.listing.sources.items():
        for key in ("access_key", "secret_key", "token", "key_file", "token_file"):
            if isinstance(value := source.options.get(key), str) and value:
                yield f"listing.sources.{name}.options.{key}", f"{IN_FILE}{value}" if key.endswith("_file") else value
    for name, options in config.sinks.items():
        if isinstance(password := options.get("password"), str):
            yield f"sinks.{name}.password", password
        for key in ("dsn", "read_dsn", "backup_dsn"):
            if isinstance(dsn := options.get(key), str) and PASSWORD_IN_DSN.search(dsn):
                yield f"sinks.{name}.{key}", dsn
    for key in ("access_key", "secret_key"):
        if value := getattr(config.backup.s3, key):
            yield f"backup.s3.{key}", value
    if config.redis.password:
        yield "redis.password", config.redis.password
    if config.api.token:
        yield "api.token", config.api.token
    for key in ("token_file", "tls_key_file"):
        if value := getattr(config.api, key):
            yield f"api.{key}", f"{IN_FILE}{value}"
    if "@" in config.net.proxy:
        yield "net.proxy", config.net.proxy


def _is_plain(url: str) -> bool:
    """Return whether an address has only a host, or cannot be parsed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    return "@" not in parts.netloc and parts.path in ("", "/") and not parts.query


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
