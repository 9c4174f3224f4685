"""A simulated notice board: posts in order of their last edit, methods to publish and edit them, and faults."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import UsageError
from pumpwatch.sim.board_dialect import BoardDialect, Post
from pumpwatch.sim.board_faults import ANSWERS, HALF_JSON, KEY_REVOKED, NO_FAULT, REJECTED, VIEWS, WS_CUT, cut
from pumpwatch.sim.board_push import BoardPush
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.http_messages import HttpCall, HttpReply
from pumpwatch.sim.wire import ClientRequest


@dataclass(slots=True)
class AddressTokens:
    """The requests that a client address may still make."""

    tokens: float
    at: float  # monotonic seconds of the last change


class NoticeBoard:
    """The posts of a board, or the markets of a list of markets. fault: the active one of `board_faults.FAULTS`."""

    def __init__(self, dialect: BoardDialect, clock: Clock, truth: TruthWriter, seed: int = 1) -> None:
        self.dialect = dialect
        self.posts: list[Post] = []
        self.fault = NO_FAULT
        self.requests = self.rejected = 0
        self._clock, self._truth = clock, truth
        self._random = random.Random(seed)
        self._buckets: dict[str, AddressTokens] = {}
        self.push = BoardPush(dialect.push, dialect.name, clock, truth) if dialect.push is not None else None

    @property
    def name(self) -> str:
        """The name of the listing source that this board answers."""
        return self.dialect.name

    @property
    def mood(self) -> str:
        """The fault under its old name: `fine` for none."""
        return "fine" if self.fault == NO_FAULT else self.fault

    def ordered(self, category: str = "") -> list[Post]:
        """Return the posts that are shown and not pinned, the last edited first, unless a fault orders them otherwise."""
        posts = [post for post in self.posts if not post.fixed and category in ("", post.category)]
        posts.sort(key=lambda post: (post.listed_at_ns, post.number), reverse=True)
        view = VIEWS.get(self.fault)
        return posts if view is None else view(posts, self._clock.now_ns())

    def publish(self, coin: Coin, markets: Sequence[str], *, listed: bool = False, title: str = "", category: str = "",
                trading_in_s: float = 5_400, text: str = "") -> Post:
        """Post the notice of a coin's listing in these markets now, or a notice with the title given.

        listed: the coin has other markets on the board's exchange already. trading_in_s: from now to the start of trading.
        text: the body of a notice whose title is given.
        """
        if self.push is not None and self.fault == WS_CUT:
            self.push.cut()
        now_ns = self._clock.now_ns()
        body = text or "" if title else self.dialect.body(coin, markets, now_ns + int(trading_in_s * NS_PER_S))
        post = Post(number=max((post.number for post in self.posts), default=0) + self._random.randint(1, 4),
                    uuid=str(self._random.randint(10**8, 10**9 - 1)),
                    title=title or self.dialect.title(coin, markets, listed),
                    category=category or self.dialect.category, first_listed_at_ns=now_ns, listed_at_ns=now_ns,
                    body=body)
        self.add(post, coin.name)
        return post

    def add(self, post: Post, coin: str) -> None:
        """Show a notice from now on, in place of one with the same number."""
        self.posts = [other for other in self.posts if other.number != post.number]
        self.posts.append(post)
        self._truth.event("published", board=self.name, number=post.number, title=post.title, coin=coin)
        self._push_notice(post, "created")

    def edit(self, number: int, suffix: str = "", title: str = "") -> Post:
        """Edit a notice: its title gets a suffix or is replaced, and it moves to the top.

        Raises UsageError if no notice has the number.
        """
        post = self._post(number)
        post.title = title or post.title + suffix
        post.listed_at_ns = self._clock.now_ns()
        self._truth.event("edited", board=self.name, number=number, title=post.title)
        self._push_notice(post, "updated")
        return post

    def delete(self, number: int) -> Post:
        """Remove a notice. Raises UsageError if no notice has the number."""
        post = self._post(number)
        self.posts.remove(post)
        self._truth.event("deleted", board=self.name, number=number, title=post.title)
        return post

    def set_fault(self, fault: str) -> None:
        """Begin a fault of `board_faults.FAULTS`, in place of the previous one; a revoked key also ends connections."""
        self.fault = fault
        if self.push is not None:
            self.push.revoked = fault == KEY_REVOKED
            if self.push.revoked:
                self.push.cut()

    def _push_notice(self, post: Post, event: str) -> None:
        if self.push is not None:
            self.push.send_notice(post, event)

    def _post(self, number: int) -> Post:
        for post in self.posts:
            if post.number == number:
                return post
        raise UsageError(f"{self.name} has no notice {number}", "see `notices` in the status")

    def rest(self, request: ClientRequest, peer: str) -> HttpReply:
        """Answer a request: with the active fault, with 429 after too many requests, otherwise with the dialect's answer."""
        self.requests += 1
        reply = ANSWERS.get(self.fault)
        if reply is None and self._too_often(peer):
            reply = REJECTED
        if reply is not None:
            self.rejected += 1
            return reply
        call = HttpCall(request.method, request.path, request.query, request.headers, request.body, self._clock.now_ns())
        answer = self.dialect.rest(call, self)
        answer = replace(answer, headers={"Date": formatdate(call.now_ns // NS_PER_S, usegmt=True), **answer.headers})
        return cut(answer) if self.fault == HALF_JSON else answer

    def status(self) -> dict[str, Any]:
        """Return figures for the status."""
        push = {} if self.push is None else {"push": {
            "clients": self.push.clients, "connects": self.push.connects, "rejected": self.push.rejected, "sent": self.push.sent}}
        return {**push, "requests": self.requests, "refused": self.rejected, "fault": self.fault, "mood": self.mood,
                "notices": [{"number": post.number, "title": post.title} for post in self.ordered()[:20]]}

    def _too_often(self, peer: str) -> bool:
        rate, now = self.dialect.requests_per_second, self._clock.monotonic()
        bucket = self._buckets.setdefault(peer, AddressTokens(self.dialect.burst, now))
        bucket.tokens = min(self.dialect.burst, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens < 1:
            return rate > 0
        bucket.tokens -= 1
        return False
