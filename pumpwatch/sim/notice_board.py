"""A simulated notice board: posts in order of their last edit, a way to publish and edit them, and faults."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import UsageError
from pumpwatch.sim.board_dialect import BoardDialect, Post
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.http_messages import HttpCall, HttpReply
from pumpwatch.sim.wire import ClientRequest

NO_FAULT = "none"
WALL = b"<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>Sorry</body></html>"
REJECTED = HttpReply(429, b'{"success":false,"error_message":"Too many requests"}', {"Retry-After": "1"})
FAULTS: dict[str, HttpReply | None] = {
    NO_FAULT: None,
    "429": REJECTED,
    "403": HttpReply(403, WALL, {"Content-Type": "text/html; charset=UTF-8"}),
    "500": HttpReply(500),
    "garbage": HttpReply(200, b'{"success":true,"data":{"notices":[{"id":'),
    "empty": HttpReply(200),
}


@dataclass(slots=True)
class TokenBucket:
    """The requests that an address may still make."""

    tokens: float
    at: float  # monotonic seconds of the last change


class NoticeBoard:
    """The posts of a board. fault: the answer to every request, a key of FAULTS."""

    def __init__(self, dialect: BoardDialect, clock: Clock, truth: TruthWriter, seed: int = 1) -> None:
        self.dialect = dialect
        self.posts: list[Post] = []
        self.fault = NO_FAULT
        self.requests = self.rejected = 0
        self._clock, self._truth = clock, truth
        self._random = random.Random(seed)
        self._buckets: dict[str, TokenBucket] = {}

    @property
    def name(self) -> str:
        """The name of the listing source that this board answers."""
        return self.dialect.name

    @property
    def mood(self) -> str:
        """The fault under its old name: `fine` for none."""
        return "fine" if self.fault == NO_FAULT else self.fault

    def ordered(self, category: str = "") -> list[Post]:
        """Return the posts that are not pinned, the last edited first."""
        posts = [post for post in self.posts if not post.fixed and category in ("", post.category)]
        return sorted(posts, key=lambda post: (post.listed_at_ns, post.number), reverse=True)

    def publish(self, coin: Coin, markets: Sequence[str], *, listed: bool = False, title: str = "", category: str = "",
                trading_in_s: float = 5_400) -> Post:
        """Post the notice of a coin's listing in these markets now, or a notice with the title given.

        listed: the coin has other markets on the board's exchange already. trading_in_s: from now to the start of trading.
        """
        now_ns = self._clock.now_ns()
        body = "" if title else self.dialect.body(coin, markets, now_ns + int(trading_in_s * NS_PER_S))
        post = Post(number=max((post.number for post in self.posts), default=0) + self._random.randint(1, 4),
                    uuid=str(self._random.randint(10**8, 10**9 - 1)),
                    title=title or self.dialect.title(coin, markets, listed),
                    category=category or self.dialect.category, first_listed_at_ns=now_ns, listed_at_ns=now_ns,
                    body=body)
        self.posts.append(post)
        self._truth.event("published", board=self.name, number=post.number, title=post.title, coin=coin.name)
        return post

    def edit(self, number: int, suffix: str = "", title: str = "") -> Post:
        """Edit a notice: its title gets a suffix or is replaced, and it moves to the top.

        Raises UsageError if no notice has the number.
        """
        for post in self.posts:
            if post.number == number:
                post.title = title or post.title + suffix
                post.listed_at_ns = self._clock.now_ns()
                self._truth.event("edited", board=self.name, number=number, title=post.title)
                return post
        raise UsageError(f"{self.name} has no notice {number}", "see `notices` in the status")

    def rest(self, request: ClientRequest, peer: str) -> HttpReply:
        """Answer a request: with the active fault, with 429 to an address that asks too often, else as the dialect does."""
        self.requests += 1
        reply = FAULTS[self.fault]
        if self.fault == NO_FAULT and self._too_often(peer):
            reply = REJECTED
        if reply is not None:
            self.rejected += 1
            return reply
        call = HttpCall(request.method, request.path, request.query, request.headers, request.body, self._clock.now_ns())
        return self.dialect.rest(call, self)

    def status(self) -> dict[str, Any]:
        """Return figures for the status."""
        return {"requests": self.requests, "refused": self.rejected, "fault": self.fault, "mood": self.mood,
                "notices": [{"number": post.number, "title": post.title} for post in self.ordered()[:20]]}

    def _too_often(self, peer: str) -> bool:
        rate, now = self.dialect.requests_per_second, self._clock.monotonic()
        bucket = self._buckets.setdefault(peer, TokenBucket(self.dialect.burst, now))
        bucket.tokens = min(self.dialect.burst, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            return rate > 0
        bucket.tokens -= 1
        return False
