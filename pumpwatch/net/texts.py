"""Text that is shown: without passwords, on one line, printable."""

from __future__ import annotations

import re

from pumpwatch.printable import printable

HIDDEN = "***"

_userinfo = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#]*@")
_begun = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#]*$")
_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}")
_place = re.compile(r"[A-Za-z0-9._-]{1,80}(:\d{1,5})?/?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?/?")


def masked(text: str) -> str:
    """Return text with `user:password@` of every URL in it replaced by `***@`."""
    return _userinfo.sub(rf"\g<scheme>{HIDDEN}@", text)


def shown_address(text: str) -> str:
    """Return what can be shown of an address that may be none: its scheme, and a host and port that look like such.

    Where it is malformed, anything else may be a part of a password.
    """
    scheme, there, rest = text.partition("://") if "://" in text else ("", "", text)
    _, at, place = rest.rpartition("@")
    if not _place.fullmatch(place):
        place = HIDDEN
    if scheme and not _scheme.fullmatch(scheme):
        scheme = HIDDEN
    return f"{scheme}{there}{f'{HIDDEN}@' if at and place != HIDDEN else ''}{place}"


def shown_url(text: str) -> str:
    """Return a URL that may be malformed, or what can be shown of it where it has an `@`."""
    return shown_address(text) if "@" in text else one_line(text)


def one_line(text: str | bytes, most: int = 120) -> str:
    """Return the first words of what another side sent: one line of at most `most` characters, printable, passwords masked."""
    far = 4 * most + 100
    cut = len(text) > far
    text = text[:far]
    words = masked(" ".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else text).split()))
    if cut:
        words = _begun.sub(rf"\g<scheme>{HIDDEN}", words)  # an `@` may stand behind the cut
    return printable(words, most)
