"""A board's dialect reads the board through a protocol that the simulated board keeps."""

from __future__ import annotations

from pumpwatch.clock import FakeClock
from pumpwatch.sim.board_dialect import Board, Post
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.http_messages import HttpCall
from pumpwatch.sim.notice_board import NoticeBoard
from tests.sim.fakes import BOARD, KeptTruth


def test_a_dialect_reads_the_simulated_board() -> None:
    board: Board = NoticeBoard(BOARD, FakeClock(), KeptTruth())
    board.posts = BOARD.seed(0, ())
    assert BOARD.rest(HttpCall("GET", "/notices", {}, {}, b"", 0), board).body == b'["old"]'


def test_a_dialect_words_the_notice_of_a_listing() -> None:
    board = NoticeBoard(BOARD, FakeClock(), KeptTruth())
    post = board.publish(Coin("AAA", 1.0), ["KRW", "BTC"], listed=True)
    assert isinstance(post, Post) and (post.title, post.category, post.fixed) == ("AAA on KRW, BTC as well", "trade", False)
    assert post.body.startswith("AAA trades at ")
