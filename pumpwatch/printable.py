"""Make foreign text safe to log and to display.

Text from a venue, a notice board or a server can contain anything: a line break forges a log line, an escape sequence controls
the terminal, a bidi override reverses a line, and a lone surrogate cannot be written as UTF-8.
"""

from __future__ import annotations

SHOWN_CHARACTERS = 200
CUT = "…"


def printable(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Return `text` as one line of at most `limit` characters, none of which moves the cursor or hides others.

    Printable characters stay, every space becomes a plain space, and any other character becomes its escape (`\\n`, `\\x1b`,
    `\\u202e`, `\\udcff`). A shortened text ends in `…`. Applying the function again changes nothing.
    """
    if len(text) <= limit and text.isprintable():
        return text
    shown: list[str] = []
    length = 0
    for character in text[: limit + 1]:
        piece = _piece(character)
        length += len(piece)
        shown.append(piece)
        if length > limit:
            break
    if length <= limit:
        return "".join(shown)
    while shown and length > limit - len(CUT):  # whole escapes only
        length -= len(shown.pop())
    return ("".join(shown) + CUT)[:limit]


def _piece(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace() and character not in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029":
        return " "  # no-break, thin and ideographic spaces
    return character.encode("unicode_escape").decode("ascii")
