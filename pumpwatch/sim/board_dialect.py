"""The simulator's notice boards: the data and functions that a simulator plugin provides for a board.

A `BoardDialect` is to a notice board what a `Dialect` is to a venue. It reads the board through `Board`; the simulator
keeps the posts, limits the requests and injects the faults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.http_messages import HttpCall, HttpReply


@dataclass(slots=True, kw_only=True)
class Post:
    """A notice."""

    number: int
    uuid: str
    title: str
    category: str
    first_listed_at_ns: int
    listed_at_ns: int  # of the last edit
    body: str = ""
    fixed: bool = False  # pinned above the list


class Board(Protocol):
    """The part of a notice board that its dialect may read."""

    posts: list[Post]

    @property
    def mood(self) -> str:
        """The active fault, `fine` for none."""

    def ordered(self, category: str = "") -> list[Post]:
        """Return the posts that are not pinned, the last edited first; category "" means all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushDialect:
    """The WebSocket of a board, as a server. notes: the dialect's data about one client."""

    name: str  # of the listing source that listens to it
    path: str  # of its address, on the board's own port
    options: Mapping[str, str]  # options of that source that the dialect accepts
    open: Callable[[HttpCall, bool], HttpReply | None]  # handshake, keys are revoked -> a rejection, None accepts it
    receive: Callable[[dict[str, Any], str], Sequence[str]]  # notes, a client's message -> answers
    encode: Callable[[Post, str, Mapping[str, Any], int], str]  # post, `created` or `updated`, notes, now_ns -> message or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardDialect:
    """A notice board, as a server; or a list of markets, whose posts are markets and whose titles are their symbols."""

    name: str  # of the listing source it answers
    url_path: str  # path and query a collector polls
    requests_per_second: float  # per address; more get HTTP 429. 0: no limit
    burst: int  # requests an address may make at once
    seed: Callable[[int, Sequence[Coin]], list[Post]]  # now_ns, coins -> the notices already there
    title: Callable[[Coin, Sequence[str], bool], str]  # coin, markets, already listed -> title of a listing
    body: Callable[[Coin, Sequence[str], int], str]  # coin, markets, trading starts at ns -> body of its notice
    category: str  # of a listing
    rest: Callable[[HttpCall, Board], HttpReply]
    push: PushDialect | None = None
    default: bool = False  # the board for commands that do not name one
