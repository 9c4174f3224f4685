"""The list is read once after each connect, until it answers, and never while its board asked for patience."""

from __future__ import annotations

import gevent

from pumpwatch.listing import catch_up
from pumpwatch.listing.catch_up import CatchUp


class Board:
    """Answers as its script says, then always."""

    rest_s = 0.0

    def __init__(self, *answers: bool) -> None:
        self.script = list(answers)
        self.looks = 0

    def look_now(self) -> bool:
        self.looks += 1
        gevent.sleep(0)
        return self.script.pop(0) if self.script else True


def settle(board: Board, looks: int) -> None:
    with gevent.Timeout(60):
        while board.looks < looks:
            gevent.sleep(0.001)
    gevent.sleep(0.01)


def test_each_request_is_one_look_and_nothing_is_read_without_one() -> None:
    board = Board()
    catching = CatchUp(board)
    greenlet = gevent.spawn(catching.run)
    gevent.sleep(0.01)
    assert board.looks == 0
    for number in (1, 2):
        catching.request()
        settle(board, number)
        assert board.looks == number
    catching.stop()
    greenlet.join(60)
    assert greenlet.successful()


def test_a_list_that_does_not_answer_is_read_again(monkeypatch) -> None:
    monkeypatch.setattr(catch_up, "RETRY_S", 0.001)
    board = Board(False, False, True)
    catching = CatchUp(board)
    greenlet = gevent.spawn(catching.run)
    catching.request()
    settle(board, 3)
    assert board.looks == 3
    catching.stop()
    greenlet.join(60)
    assert greenlet.successful()


def test_a_stop_ends_it_while_a_list_does_not_answer() -> None:
    board = Board(*[False] * 1000)
    board.rest_s = 900.0
    catching = CatchUp(board)
    greenlet = gevent.spawn(catching.run)
    catching.request()
    settle(board, 1)
    catching.stop()
    greenlet.join(60)
    assert greenlet.successful() and board.looks == 1
