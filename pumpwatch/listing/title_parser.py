"""Parse a notice title: its coins, its market lists, and which list belongs to which coin.

The text is split into market lists (`KRW, BTC 마켓`), coins (`이름(SYM)`, `SYM(이름)`, `SYM`), separators and other text. From
the statement of a new market the parser walks in both directions while it finds coins, lists and separators, so it ignores the
coins and markets of another statement in the same title. A coin belongs to the list that follows it; the remaining coins belong
to a leading list. Each step is one pass over the title.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from pumpwatch.listing.title_grammar import HOLE, TitleGrammar, normalise, split_groups, split_prefixes

_TICKER = re.compile(r"(?=[0-9]*[A-Z])[A-Z0-9]{1,15}")
_MIXED_TICKER = re.compile(r"(?=[^A-Z]*[A-Z][^A-Z]*[A-Z])[A-Za-z0-9]{2,15}")  # USDe, stETH: at least two capitals
_LIST_SPLIT = re.compile(r"[,、·・&+/]")
_BRACKETS = str.maketrans("[]{}", "()()")
_TRIES = 8  # matches of one statement tried in one title


@dataclass(frozen=True, slots=True)
class TitleReading:
    """The content of a title. opens: it states that a market opens.

    head: the text without parentheses and prefixes. shared: coins that share a list of several markets, which may be the union
    of theirs. unsure: the coins are not next to the statement, or an entry of their list could not be read.
    """

    prefixes: tuple[str, ...]
    head: str
    remarks: tuple[str, ...]
    opens: bool = False
    markets: tuple[str, ...] = ()
    coins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    unsure: bool = False


@dataclass(slots=True)
class _Token:
    kind: str  # text, group, markets, coins, statement, separator, joiner
    text: str = ""
    names: tuple[str, ...] = ()  # markets or tickers
    unsure: bool = False


def read_title(title: str, grammar: TitleGrammar) -> TitleReading:
    """Parse one title. Never raises; the time is linear in its length."""
    return _parser(grammar).title(title)


@lru_cache(maxsize=32)
def _parser(grammar: TitleGrammar) -> _Parser:
    return _Parser(grammar)


class _Parser:
    """One grammar, compiled."""

    def __init__(self, grammar: TitleGrammar) -> None:
        self.grammar = grammar
        self.markets = {spelling.upper(): market for spelling, market in grammar.markets.items()}
        spellings = "|".join(sorted(map(re.escape, self.markets), key=len, reverse=True))
        joiners = "|".join(rf"(?<![A-Za-z0-9]){joiner}(?!\S)" if joiner.isascii() else rf"(?<![가-힣]){joiner}(?!\S)"
                           for joiner in grammar.joiners)
        self.first_noun = re.compile(rf"[^:]*(?:{grammar.noun})\s*:\s*", re.IGNORECASE)  # 거래 마켓 : KRW, BTC
        self.last_noun = re.compile(rf"\s*(?:{grammar.noun})$", re.IGNORECASE)
        self.words = re.compile(
            rf"(?P<market>(?<![A-Za-z0-9가-힣])(?:{spellings})(?=(?:{grammar.noun})|{joiners}|[^A-Za-z0-9가-힣]|$))"
            rf"|(?P<noun>{grammar.noun})"
            rf"|(?P<joiner>{joiners})"
            rf"|(?P<separator>[,、·・&+/]|[:\-–—~](?=\s)|(?<=\s)[:\-–—~])"
            rf"|(?P<hole>{HOLE})|(?P<space>\s+)|(?P<word>[A-Za-z0-9]+|[가-힣]+|.)", re.IGNORECASE | re.DOTALL)

    def title(self, title: str) -> TitleReading:
        """Parse one title."""
        prefixes, body = split_prefixes(normalise(title))
        reading = self.body(prefixes, body)
        if prefixes and not reading.opens:  # [신규 거래지원 안내] 이름(SYM) ...
            whole = self.body(prefixes, " ".join((*prefixes, body)))
            return whole if whole.opens else reading
        return reading

    def body(self, prefixes: tuple[str, ...], body: str) -> TitleReading:
        """Parse a title without its prefixes."""
        flat, groups = split_groups(body.translate(_BRACKETS))
        head = " ".join(flat.replace(HOLE, " ").split())
        for pattern in self.grammar.statements:
            if (found := self.find(flat, groups, pattern, tied=False)) is not None:
                return self.bind(prefixes, head, *found)
        for pattern in self.grammar.tied_statements:
            if (found := self.find(flat, groups, pattern, tied=True)) is not None:
                return self.bind(prefixes, head, *found)
        for index, group in enumerate(groups):  # a remark that opens a market
            inner, nested = split_groups(group)
            for pattern in self.grammar.tied_statements:
                if (found := self.find(inner, nested, pattern, tied=True)) is not None:
                    rest = [_Token("group", later) for later in groups[index + 1:]]
                    outer = self.tokens(flat, groups, None)
                    return self.bind(prefixes, head, [*outer, *found[0], *rest], len(outer) + found[1])
        return TitleReading(prefixes, head, tuple(self.remark(group, ()) for group in groups))

    def find(self, flat: str, groups: Sequence[str], pattern: re.Pattern[str],
             tied: bool) -> tuple[list[_Token], int] | None:
        """Return the title's tokens and the index of the statement among them; None if the title does not have it."""
        for match in islice(pattern.finditer(flat), _TRIES):
            tokens = self.tokens(flat, groups, match.span())
            at = next(index for index, token in enumerate(tokens) if token.kind == "statement")
            before = [token.kind for token in tokens[max(0, at - 2):at]]
            if not tied or before[-1:] == ["markets"] or before == ["markets", "group"]:
                return tokens, at
        return None

    def tokens(self, flat: str, groups: Sequence[str], statement: tuple[int, int] | None) -> list[_Token]:
        """Split flat text into tokens. statement: its span in the text."""
        holes = iter(groups)
        if statement is None:
            return self.with_coins(self.lex(flat, holes))
        before = self.lex(flat[:statement[0]], holes)
        stated = flat[statement[0]:statement[1]]
        inside = self.with_coins([_Token("group", next(holes)) for _ in range(stated.count(HOLE))])
        after = self.lex(flat[statement[1]:], holes)
        return [*self.with_coins(before), *inside, _Token("statement", stated), *self.with_coins(after)]

    def lex(self, flat: str, holes: Iterator[str]) -> list[_Token]:
        """Split into text, groups, separators and market lists. A list is market words with separators between, then the noun."""
        tokens: list[_Token] = []
        pending: list[tuple[str, str]] = []  # begins with a market word and may become a list
        complete = False  # the last entry of `pending` is a market word

        def add(kind: str, word: str) -> None:
            if kind not in ("text", "group", "separator", "joiner"):
                kind = "text"
            if kind == "text" and tokens and tokens[-1].kind == "text":
                tokens[-1].text += word
            elif kind != "text" or word.strip():
                tokens.append(_Token(kind, word))

        def give_up() -> None:
            for kind, word in pending:
                add(kind, word)
            pending.clear()

        for match in self.words.finditer(flat):
            kind, word = str(match.lastgroup), match.group()
            if kind == "hole":
                kind, word = "group", next(holes)
            if kind == "market":
                if complete and pending:
                    give_up()
                pending.append((kind, word))
                complete = True
            elif not pending:
                add(kind, word)
            elif kind == "noun" and complete:
                self.add_list(tokens, [self.markets[text.upper()] for of_kind, text in pending if of_kind == "market"])
                pending.clear()
            elif kind == "space":
                pending.append((kind, word))
            elif kind in ("separator", "joiner") and complete and word != ":":
                pending.append((kind, word))
                complete = False
            elif kind == "group" and pending[-1][0] == "market" \
                    and self.markets.get(word.upper()) == self.markets[pending[-1][1].upper()]:
                continue  # 원화(KRW) 마켓
            else:
                give_up()
                add(kind, word)
        give_up()
        return tokens

    @staticmethod
    def add_list(tokens: list[_Token], markets: Sequence[str]) -> None:
        """Add a list; `KRW 마켓, BTC 마켓` is one list."""
        if len(tokens) > 1 and tokens[-1].kind in ("separator", "joiner") and tokens[-2].kind == "markets":
            tokens.pop()
            tokens[-1].names = tuple(dict.fromkeys([*tokens[-1].names, *markets]))
        else:
            tokens.append(_Token("markets", names=tuple(dict.fromkeys(markets))))

    def with_coins(self, tokens: list[_Token]) -> list[_Token]:
        """Turn a name with parentheses after it, or a text that is a ticker, into a coin."""
        out: list[_Token] = []
        for token in tokens:
            kinds = [earlier.kind for earlier in out[-2:]]
            if token.kind == "group" and kinds[-1:] == ["text"] and (ticker := self.ticker(token.text)):
                out[-1] = _Token("coins", out[-1].text.strip(), (ticker,))
                continue
            if token.kind == "group" and kinds == ["text", "group"] and (ticker := self.ticker(token.text)):
                out[-2:] = [_Token("coins", out[-2].text.strip(), (ticker,))]  # 엑스알피(리플)(XRP)
                continue
            self.bare_coin(out)
            if token.kind == "group" and (markets := self.market_list(token.text)):
                out.append(_Token("markets", token.text, markets))
            elif token.kind != "group" or not (out and out[-1].kind == "coins" and out[-1].text in out[-1].names):
                out.append(token)  # skipped: the name in PUFFER(퍼퍼)
        self.bare_coin(out)
        return out

    def bare_coin(self, out: list[_Token]) -> None:
        """Turn a last text that is a ticker, or ends in one, into a coin."""
        if out and out[-1].kind == "text" and (entry := self.entry(out[-1].text)):
            out[-1] = _Token("coins", out[-1].text.strip(), (entry,))

    def ticker(self, word: str) -> str:
        """Return a word as a ticker; an empty string if it is not one."""
        word = word.strip().removeprefix("$")
        if (_TICKER.fullmatch(word) or _MIXED_TICKER.fullmatch(word)) and word.upper() not in self.grammar.never_coins:
            return word.upper()
        return ""

    def entry(self, text: str) -> str:
        """Return the ticker of one entry of a coin list: `SYM`, `이름 SYM`, `이름(SYM)`, `SYM(이름)`, `SYM/QUOTE`."""
        flat, groups = split_groups(text.strip())
        words = flat.replace(HOLE, " ").split()
        if len(groups) == 1 and flat.rstrip().endswith(HOLE):
            return self.ticker(groups[0]) or (self.ticker(words[0]) if len(words) == 1 else "")
        if not words or groups or words[0].lower() in self.grammar.former:
            return ""
        base, _, quote = words[-1].partition("/")
        return "" if quote and quote.upper() not in self.markets else self.ticker(base)

    def market_list(self, text: str) -> tuple[str, ...]:
        """Return the markets of a group that is a market list, with or without the noun; else an empty tuple."""
        tokens = self.lex(*_flat(text))
        if len(tokens) == 1 and tokens[0].kind == "markets":
            return tokens[0].names
        listed, noun = self.last_noun.subn("", self.first_noun.sub("", text))
        parts = [part.strip().upper() for part in _LIST_SPLIT.split(listed)]
        known = [part for part in parts if part in self.markets]
        if len(known) == len(parts) or (known and noun and all(map(_TICKER.fullmatch, parts))):  # KRW, a newer market 마켓
            return tuple(dict.fromkeys(self.markets.get(part, part) for part in parts))
        return ()

    def coin_list(self, text: str) -> _Token | None:
        """Return the coins of a group that lists coins; None for any other group."""
        flat, groups = split_groups(text)
        holes = iter(groups)
        entries = flat.split(",") if "/" in flat and self.entry(flat.split(",")[0]) else _LIST_SPLIT.split(flat)
        tickers = [self.entry(re.sub(HOLE, lambda _: f"({next(holes)})", entry)) for entry in entries]
        if not any(tickers):
            return None
        return _Token("coins", text, tuple(dict.fromkeys(filter(None, tickers))), unsure=not all(tickers))

    def remark(self, group: str, coins: Sequence[str]) -> str:
        """Classify a remark: its kinds joined by `+`, then the coins that it names: `start_time:USDS`."""
        kinds = [kind for kind, pattern in self.grammar.remarks.items() if pattern.search(group)]
        named = dict.fromkeys(word for word in re.findall(r"[A-Za-z0-9]+", group) if word.upper() in coins)
        return "+".join(kinds or ["other"]) + (":" + ",".join(named) if named else "")

    def bind(self, prefixes: tuple[str, ...], head: str, tokens: list[_Token], at: int) -> TitleReading:
        """Bind coins to lists around the statement at tokens[at]."""
        first = at
        while first and tokens[first - 1].kind in ("coins", "markets", "separator", "joiner", "group"):
            token = tokens[first - 1]
            if token.kind == "group" and (first < 2 or tokens[first - 2].kind != "coins"):  # not a remark on a coin
                if (listed := self.coin_list(token.text)) is None:
                    break
                tokens[first - 1] = listed
            first -= 1
        near = tokens[first:at]
        after, notes = self.after(tokens[at + 1:], {token.kind for token in near})
        near += after
        loose = not any(token.kind == "coins" for token in near)
        if loose:
            near = [token for token in tokens if token.kind == "coins"] + near
        if not any(token.kind == "markets" for token in near):
            near += [token for token in tokens if token.kind == "markets"] or self.lists_in(tokens)
        coins, shared = _bind(near)
        markets = dict.fromkeys(market for token in near if token.kind == "markets" for market in token.names)
        unsure = (loose and len(coins) != 1) or any(token.unsure for token in near)
        remarks = tuple(self.remark(note, list(coins)) for note in notes)
        return TitleReading(prefixes, head, remarks, True, tuple(markets), coins, shared, unsure)

    def lists_in(self, tokens: Sequence[_Token]) -> list[_Token]:
        """Return the market lists among other words in parentheses."""
        inner = [self.lex(*_flat(token.text)) for token in tokens if token.kind == "group"]
        return [token for listed in inner for token in listed if token.kind == "markets"]

    def after(self, tokens: Sequence[_Token], known: set[str]) -> tuple[list[_Token], list[str]]:
        """Return the coins and lists that follow the statement, and the remarks after them.

        known: the kinds found before the statement. Coins are taken from the first parentheses only if none were found.
        """
        taken: list[_Token] = []
        notes: list[str] = []
        walking, joined, has_coins, has_markets = True, -1, "coins" in known, "markets" in known
        for original in tokens:
            token = original
            if walking and not has_coins and not notes and token.text and token.kind in ("group", "markets") \
                    and (token.kind == "group" or has_markets):
                token = self.coin_list(token.text) or token
            if token.kind == "group":
                notes.append(token.text)
            elif token.kind == "markets" and walking and has_coins and "markets" in known:
                walking = False  # the list of another statement
            elif token.kind == "markets" and (walking or not has_markets):
                taken.append(token)
                has_markets = True
            elif token.kind == "text" and walking:
                walking = False
                if joined >= 0:
                    del taken[joined:]  # the tokens after "and" belong to another statement
            elif token.kind == "joiner" and walking:
                joined = len(taken)
            elif token.kind == "coins" and walking and "coins" not in known and not notes:
                taken.append(token)
                has_coins = True
        return taken, notes


def _flat(text: str) -> tuple[str, Iterator[str]]:
    flat, groups = split_groups(text)
    return flat, iter(groups)


def _bind(tokens: Sequence[_Token]) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """Return each coin's markets, by the list that follows it or the leading list, and the coins that share a longer list."""
    bound: dict[str, tuple[str, ...]] = {}
    shared: set[str] = set()
    waiting: dict[str, None] = {}
    leading: tuple[str, ...] = ()

    def give(markets: tuple[str, ...]) -> None:
        bound.update(dict.fromkeys(waiting, markets))
        if len(waiting) > 1 and len(markets) > 1:
            shared.update(waiting)
        waiting.clear()

    for token in tokens:
        if token.kind == "coins":
            waiting.update((name, None) for name in token.names if name not in bound)
        elif token.kind == "markets":
            if not waiting and not bound:
                leading = tuple(dict.fromkeys([*leading, *token.names]))
            give(token.names)
    give(leading)
    return bound, frozenset(shared)
