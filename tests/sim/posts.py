"""A board that holds posts: what a dialect reads in its tests."""

from __future__ import annotations

from dataclasses import dataclass

from pumpwatch.sim.board_dialect import Post


@dataclass
class Posts:
    """Shows the posts that are not pinned, the last edited first."""

    posts: list[Post]
    mood: str = "fine"

    def ordered(self, category: str = "") -> list[Post]:
        shown = [post for post in self.posts if not post.fixed and category in ("", post.category)]
        return sorted(shown, key=lambda post: (post.listed_at_ns, -post.number), reverse=True)
