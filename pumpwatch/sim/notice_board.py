"""A simulated notice board: posts in order of their last edit, a shared way to publish, and moods for faults."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pumpwatch.clock import Clock
from pumpwatch.errors import UsageError
from pumpwatch.sim.dialect import BoardDialect, Coin, HttpCall, HttpReply
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.wire import ClientRequest

MOODS = ("fine", "429", "403", "500", "garbage", "empty")
WALL = b"<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>Sorry</body></html>"


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


@dataclass(slots=True)
class Bucket:
    """Requests an address may still make."""

    tokens: float
    at: float


@dataclass
class Board:
    """The posts and how the board feels about being asked."""

    dialect: BoardDialect
    clock: Clock
    truth: TruthWriter
    seed: int = 1
    posts: list[Post] = field(default_factory=list)
    mood: str = "fine"
    requests: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._buckets: dict[str, Bucket] = {}

    @property
    def name(self) -> str:
        """The name of the listing source that this board answers."""
        return self.dialect.name

    def ordered(self, category: str = "") -> list[Post]:
        """Return the posts that are not pinned, the last edited first."""
        posts = [post for post in self.posts if not post.fixed and category in ("", post.category)]
        return sorted(posts, key=lambda post: (post.listed_at_ns, post.number), reverse=True)

    def publish(self, coin: Coin, markets: Sequence[str], *, listed: bool = False, title: str = "", category: str = "",
                trading_in_s: float = 5_400) -> Post:
        """Post a notice now: of a coin that gets these markets, or with a title given."""
        now_ns = self.clock.now_ns()
        body = "" if title else self.dialect.body(coin, markets, now_ns + int(trading_in_s * 1e9))
        post = Post(number=max((post.number for post in self.posts), default=0) + self._random.randint(1, 4),
                    uuid=str(self._random.randint(10**8, 10**9 - 1)),
                    title=title or self.dialect.title(coin, markets, listed),
                    category=category or self.dialect.category, first_listed_at_ns=now_ns, listed_at_ns=now_ns,
                    body=body)
        self.posts.append(post)
        self.truth.event("published", board=self.name, number=post.number, title=post.title, coin=coin.name)
        return post

    def edit(self, number: int, suffix: str = "", title: str = "") -> Post:
        """Edit a notice in place: its title gets a suffix or is replaced, and it moves to the top."""
        for post in self.posts:
            if post.number == number:
                post.title = title or post.title + suffix
                post.listed_at_ns = self.clock.now_ns()
                self.truth.event("edited", board=self.name, number=number, title=post.title)
                return post
        raise UsageError(f"{self.name} has no notice {number}", "see `notices` in the status")

    def rest(self, request: ClientRequest, peer: str) -> HttpReply:
        """Answer a request as the mood is."""
        self.requests += 1
        moods: dict[str, HttpReply] = {
            "403": HttpReply(403, WALL, {"Content-Type": "text/html; charset=UTF-8"}),
            "500": HttpReply(500, b"", {}),
            "garbage": HttpReply(200, b'{"success":true,"data":{"notices":[{"id":', {}),
            "empty": HttpReply(200, b"", {}),
            "429": HttpReply(429, b'{"success":false,"error_message":"Too many requests"}', {"Retry-After": "1"}),
        }
        reply = moods.get("429" if self.mood == "fine" and self._too_often(peer) else self.mood)
        if reply is not None:
            self.refused += 1
            return reply
        call = HttpCall(request.method, request.path, request.query, request.headers, request.body, self.clock.now_ns())
        return self.dialect.rest(call, self)

    def status(self) -> dict[str, Any]:
        """Return figures for the status."""
        return {"requests": self.requests, "refused": self.refused, "mood": self.mood,
                "notices": [{"number": post.number, "title": post.title} for post in self.ordered()[:20]]}

    def _too_often(self, peer: str) -> bool:
        rate, now = self.dialect.requests_per_second, self.clock.monotonic()
        bucket = self._buckets.setdefault(peer, Bucket(self.dialect.burst, now))
        bucket.tokens = min(self.dialect.burst, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            return rate > 0
        bucket.tokens -= 1
        return False
