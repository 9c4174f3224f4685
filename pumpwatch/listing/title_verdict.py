"""Judge notice titles: the kind of the notice, and the coins that get a KRW market.

A listing source's `verdict` calls `judge` with its grammar. A title opens a market only if it says so, by a statement with a
market list, never because other words are missing. The other kinds only label the remaining titles.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from pumpwatch.errors import UsageError
from pumpwatch.hookspecs import NoticeSource, Verdict
from pumpwatch.listing.title_grammar import TitleGrammar, normalise
from pumpwatch.listing.title_parser import TitleReading, read_title

KRW = "KRW"


def judge(title: str, grammar: TitleGrammar | None = None, *, wording: TitleGrammar | None = None) -> Verdict:
    """Return the verdict on one title. Raises for no title; the time is linear in its length. wording: the old name of `grammar`.

    needs_body is set if several coins share one list of several markets (it may be the union of theirs), if not all coins of a
    listing could be read, or if a new market is stated without a market list.
    """
    grammar = wording if grammar is None else grammar
    if grammar is None:
        raise TypeError("judge() needs a grammar")
    reading = read_title(title, grammar)
    if any(grammar.refused_prefix.search(prefix) for prefix in reading.prefixes):
        return Verdict("event", notes=reading.remarks)
    if not reading.opens or (grammar.refused is not None and grammar.refused.search(normalise(title))):
        return Verdict(_other_kind(title, reading, grammar), notes=reading.remarks)
    symbols = tuple(coin for coin, markets in reading.coins.items() if KRW in markets)
    if not symbols and (reading.coins or KRW not in reading.markets):
        return Verdict("non_krw_listing", (), reading.coins, not reading.markets, reading.remarks)
    needs_body = not symbols or reading.unsure or not reading.shared.isdisjoint(symbols)
    return Verdict("krw_listing", symbols, reading.coins, needs_body, reading.remarks)


def _other_kind(title: str, reading: TitleReading, grammar: TitleGrammar) -> str:
    """Return the kind of a title that opens no market, by the text after its cause, else by more of the title."""
    causes = list(grammar.cause.finditer(reading.head))
    subject = reading.head[causes[-1].end():] if causes else reading.head
    for text in (subject, " ".join((*reading.prefixes, reading.head)), normalise(title)):
        for kind, pattern in grammar.kinds:
            if pattern.search(text):
                return kind
    return "other"


def titles_command(file: Path | str | IO[str] | None, source: NoticeSource) -> Iterator[dict[str, Any]]:
    """Yield one verdict per title: kind, symbols, markets, needs_body, notes, and the title.

    file: a path, an open text file, or None for standard input. Each line is a raw title or a JSON object with `title`; blank
    lines are skipped. Raises UsageError if the file cannot be read, a JSON line has no title, or the source has no titles.
    """
    if source.verdict is None:
        raise UsageError(f"the listing source `{source.name}` has no titles")
    if file is None or str(file) == "-":
        yield from _verdicts(sys.stdin, source.verdict)
    elif isinstance(file, str | Path):
        try:
            with Path(file).open(encoding="utf-8") as lines:
                yield from _verdicts(lines, source.verdict)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: cannot read titles: {error}", "give UTF-8 text, one title a line") from error
    else:
        yield from _verdicts(file, source.verdict)


def _verdicts(lines: Iterable[str], judge_title: Callable[[str], Verdict]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("\ufeff")
        if not text:
            continue
        title = _title_of(text, number)
        verdict = judge_title(title)
        yield {"kind": verdict.kind, "symbols": list(verdict.symbols),
               "markets": {coin: list(markets) for coin, markets in verdict.markets.items()},
               "needs_body": verdict.needs_body, "notes": list(verdict.notes), "title": title}


def _title_of(text: str, number: int) -> str:
    if not text.startswith("{"):
        return text
    try:
        title = msgspec.json.decode(text).get("title")
    except msgspec.DecodeError:
        return text
    if not isinstance(title, str):
        raise UsageError(f"line {number}: the JSON object has no text `title`", 'write {"title": "..."}')
    return title
