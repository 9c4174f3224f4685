"""Makes text safe to show: on one line, printable, without passwords."""

from __future__ import annotations

import re

from pumpwatch.printable import printable

HIDDEN = "***"

_userinfo = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#]*@")
_begun = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#]*$")
_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}")
_place = re.compile(r"[A-Za-z0-9._-]{1,80}(:\d{1,5})?/?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?/?")


def masked(text: str) -> str:
    """Return `text` with `user:password@` replaced by `***@` in every URL."""
    return _userinfo.sub(rf"\g<scheme>{HIDDEN}@", text)


def shown_address(text: str) -> str:
    """Return the parts of a possibly malformed address that are safe to show: its scheme, host and port.

    Parts that do not look like a scheme, host or port are hidden, because they may belong to a password.
    """
    scheme, there, rest = text.partition("://") if "://" in text else ("", "", text)
    _, at, place = rest.rpartition("@")
    if not _place.fullmatch(place):
        place = HIDDEN
    if scheme and not _scheme.fullmatch(scheme):
        scheme = HIDDEN
    return f"{scheme}{there}{f'{HIDDEN}@' if at and place != HIDDEN else ''}{place}"


def shown_url(text: str) -> str:
    """Return a possibly malformed URL on one line; if it has an `@`, only the parts that are safe to show."""
    return shown_address(text) if "@" in text else one_line(text)


def one_line(text: str | bytes, most: int = 120) -> str:
    """Return text from outside as one line of at most `most` characters: spaces joined, printable, passwords masked.

    It is for messages. For text that must stay exact, use `printable`.
    """
    far = 4 * most + 100
    cut = len(text) > far
    text = text[:far]
    words = masked(" ".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else text).split()))
    if cut:
        words = _begun.sub(rf"\g<scheme>{HIDDEN}", words)  # an `@` may follow after the cut
    return printable(words, most)
