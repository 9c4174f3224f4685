"""Text from outside, made safe to log and to show.

What a venue, a board or a server sends is theirs: a line break in it forges a line of the log, an escape sequence reaches the
terminal, a bidi override turns a line around, a lone surrogate cannot be written as UTF-8 at all.
"""

from __future__ import annotations

SHOWN_CHARACTERS = 200
CUT = "…"


def printable(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Return `text` as one line of at most `limit` characters, none of which moves a cursor or hides another.

    Printable characters stay as they are, all spaces become plain ones, everything else is written as its escape (`\\n`,
    `\\x1b`, `\\u202e`, `\\udcff`). A text that was cut ends in `…`. Text that came out of here comes out unchanged.
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
