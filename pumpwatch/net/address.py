"""Checks the service addresses in the configuration at the start; errors never show a password."""

from __future__ import annotations

from urllib.parse import urlsplit

from pumpwatch.errors import ConfigError
from pumpwatch.net.redirects import origin_of
from pumpwatch.net.texts import shown_url

HINT = ("write {}://HOST/PATH, with USER:PASSWORD@ before HOST if the service requires them; in a password and a path write "
        "@ as %40, in a password / as %2F, ? as %3F, # as %23")


def check_address(text: str, where: str, *schemes: str) -> None:
    """Raise ConfigError if `text` is not an address of one of the schemes.

    The error names `where`, its place in the configuration, and hides the password.
    """
    try:
        origin_of(text)
        parts = urlsplit(text)
        good = text.isprintable() and " " not in text and parts.scheme in schemes
        good = good and "@" not in f"{parts.path}{parts.query}{parts.fragment}"  # otherwise a part of the password is before it
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{where}: {shown_url(text)}: not a {' or '.join(schemes)} address", HINT.format(schemes[-1]))
