"""The vocabulary of a notice board's titles, and text functions for all boards.

A source describes its board by a `TitleGrammar`, with which `listing.title_parser` parses titles.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_TITLE = 2000
HOLE = "\ue000"  # stands in for a pair of parentheses in the text that statements are matched against

_PREFIX = re.compile(r"\s*\[([^\[\]]*)\]\s*")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TitleGrammar:
    """The vocabulary of one notice board. Patterns are matched against NFKC text with single spaces.

    markets: spelling -> market (`원화` -> `KRW`). never_coins: names of markets that are never a coin. noun: pattern of the
    word that ends a market list. joiners: words between coins (`및`). statements: patterns of "a new market", the most
    reliable first, matched outside parentheses, where each pair of parentheses is one `HOLE`. tied_statements: the same, but
    valid only directly after a market list; these are matched inside parentheses too. refused_prefix: pattern of a leading
    `[...]` that makes the title an event, whatever follows. refused: pattern of a title that opens no market whatever it states,
    such as an update of an earlier notice that is published as a new notice. kinds: (kind, pattern) of titles that open no
    market; the first match wins. They are tried on the text after the last `cause`, without parentheses, then on more of the
    title. remarks: kind -> pattern of a remark in parentheses. former: words before a former ticker of the coin (`구 AERO`),
    which is not a coin of the title.
    """

    markets: Mapping[str, str]
    never_coins: frozenset[str]
    noun: str
    joiners: tuple[str, ...]
    statements: tuple[re.Pattern[str], ...]
    tied_statements: tuple[re.Pattern[str], ...]
    refused_prefix: re.Pattern[str]
    kinds: Sequence[tuple[str, re.Pattern[str]]]
    cause: re.Pattern[str]
    remarks: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    refused: re.Pattern[str] | None = None
    former: frozenset[str] = frozenset({"구", "전", "옛", "former", "formerly", "old", "ex"})


def normalise(title: str) -> str:
    """Return at most MAX_TITLE characters of the title, in NFKC, with single spaces, without invisible characters."""
    seen = "".join(char for char in title[:MAX_TITLE] if unicodedata.category(char) != "Cf")  # zero-width, direction marks
    text = unicodedata.normalize("NFKC", seen).replace(HOLE, " ")
    return " ".join(text.split())[:MAX_TITLE]


def split_prefixes(text: str) -> tuple[tuple[str, ...], str]:
    """Return the leading `[...]` parts and the text after them."""
    prefixes, at = [], 0
    while match := _PREFIX.match(text, at):
        prefixes.append(match.group(1).strip())
        at = match.end()
    return tuple(prefixes), text[at:]


def split_groups(text: str) -> tuple[str, list[str]]:
    """Return the text with each outermost balanced `(...)` replaced by HOLE, and the contents in order.

    An unbalanced parenthesis stays in the text.
    """
    pairs: dict[int, int] = {}
    open_at: list[int] = []
    for at, char in enumerate(text):
        if char == "(":
            open_at.append(at)
        elif char == ")" and open_at:
            pairs[open_at.pop()] = at
    flat: list[str] = []
    groups: list[str] = []
    at = 0
    while at < len(text):
        end = pairs.get(at)
        if end is None:
            flat.append(text[at])
            at += 1
        else:
            flat.append(HOLE)
            groups.append(text[at + 1:end].strip())
            at = end + 1
    return "".join(flat), groups
