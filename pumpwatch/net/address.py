"""The addresses of services that a config names: refused at the start where they cannot be meant, shown without a password."""

from __future__ import annotations

from urllib.parse import urlsplit

from pumpwatch.errors import ConfigError
from pumpwatch.net.redirects import origin_of
from pumpwatch.net.texts import shown_url

HINT = ("write {}://HOST/PATH, with USER:PASSWORD@ before HOST where it asks for them; in a password and a path write "
        "@ as %40, in a password / as %2F, ? as %3F, # as %23")


def check_address(text: str, where: str, *schemes: str) -> None:
    """Raise ConfigError, which shows `where` it stands and no password, where a text is not an address of one of the schemes."""
    try:
        origin_of(text)
        parts = urlsplit(text)
        good = text.isprintable() and " " not in text and parts.scheme in schemes
        good = good and "@" not in f"{parts.path}{parts.query}{parts.fragment}"  # else a part of a password stands before it
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{where}: {shown_url(text)}: not a {' or '.join(schemes)} address", HINT.format(schemes[-1]))
