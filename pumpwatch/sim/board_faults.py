"""The faults of a simulated board: other answers than its list, and lists that show the posts differently.

A fault of ANSWERS replaces every answer. A fault of VIEWS changes the posts shown: late, an hour off, in another order, or only
half of them. `half_json` cuts the body of the right answer in the middle. Two faults concern the board's WebSocket: `ws_cut` ends
its connections just before each notice, and `key_revoked` rejects every key.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence

from pumpwatch.clock import NS_PER_S
from pumpwatch.sim.board_dialect import Post
from pumpwatch.sim.http_messages import HttpReply

NO_FAULT = "none"
HALF_JSON = "half_json"
WS_CUT, KEY_REVOKED = "ws_cut", "key_revoked"
WALL = b"<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>Sorry</body></html>"
HTML_TYPE = {"Content-Type": "text/html; charset=UTF-8"}
REJECTED = HttpReply(429, b'{"success":false,"error_message":"Too many requests"}', {"Retry-After": "1"})
ANSWERS: dict[str, HttpReply] = {
    "429": REJECTED,
    "403": HttpReply(403, WALL, HTML_TYPE),
    "html": HttpReply(200, WALL, HTML_TYPE),
    "500": HttpReply(500),
    "garbage": HttpReply(200, b'{"success":true,"data":{"notices":[{"id":'),
    "empty": HttpReply(200),
    "empty_list": HttpReply(200, b"[]"),
}
LATE_NS = 10 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S

View = Callable[[Sequence[Post], int], list[Post]]  # posts in the board's order, now_ns -> the posts that are shown


def _late(posts: Sequence[Post], now_ns: int) -> list[Post]:
    """Leave out posts until 10 s after their publication, as a cache does."""
    return [post for post in posts if now_ns - post.first_listed_at_ns >= LATE_NS]


def _shifted(by_ns: int) -> View:
    def shift(posts: Sequence[Post], now_ns: int) -> list[Post]:
        return [dataclasses.replace(post, first_listed_at_ns=post.first_listed_at_ns + by_ns,
                                    listed_at_ns=post.listed_at_ns + by_ns) for post in posts]
    return shift


def _reordered(posts: Sequence[Post], now_ns: int) -> list[Post]:
    """Show the posts in another order at each request."""
    return random.Random(now_ns).sample(list(posts), len(posts))


def _half(posts: Sequence[Post], now_ns: int) -> list[Post]:
    """Leave out the second half of the list."""
    return list(posts[:len(posts) // 2])


VIEWS: dict[str, View] = {
    "late": _late, "hour_ahead": _shifted(HOUR_NS - NS_PER_S), "hour_behind": _shifted(-HOUR_NS), "reordered": _reordered,
    "half": _half,
}
FAULTS = (NO_FAULT, *ANSWERS, *VIEWS, HALF_JSON, WS_CUT, KEY_REVOKED)


def cut(reply: HttpReply) -> HttpReply:
    """Return the answer with half of its body, and without the ETag of a whole one."""
    headers = {name: value for name, value in reply.headers.items() if name.lower() != "etag"}
    return HttpReply(reply.status, reply.body[:len(reply.body) // 2], headers)
