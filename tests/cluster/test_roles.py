"""The boards are asked from two addresses where there are two."""

from __future__ import annotations

import pytest

from pumpwatch.cluster.roles import BOARDS, LEADER, may_have

ONE = {"a": "x"}
TWO_HERE = {"a": "x", "b": "x"}
APART = {"a": "x", "b": "x", "c": "y"}


@pytest.mark.parametrize(("role", "name", "addresses", "holders", "may"), [
    (LEADER, "b", APART, {BOARDS[0]: "a"}, True),
    (BOARDS[0], "a", APART, {}, True),
    (BOARDS[1], "a", ONE, {BOARDS[0]: "a"}, True),
    (BOARDS[1], "a", TWO_HERE, {BOARDS[0]: "a"}, False),
    (BOARDS[1], "b", TWO_HERE, {BOARDS[0]: "a"}, True),
    (BOARDS[1], "b", APART, {BOARDS[0]: "a"}, False),
    (BOARDS[1], "c", APART, {BOARDS[0]: "a"}, True),
    (BOARDS[0], "b", APART, {BOARDS[1]: "c"}, True),
    (BOARDS[0], "c", APART, {BOARDS[1]: "c"}, False),
])
def test_which_members_may_hold_a_role(role: str, name: str, addresses: dict[str, str], holders: dict[str, str],
                                       may: bool) -> None:
    assert may_have(role, name, addresses, lambda asked: holders.get(asked, "")) == may


def test_a_member_that_has_both_gives_up_the_second_once_another_one_is_there() -> None:
    both = {BOARDS[0]: "a", BOARDS[1]: "a"}
    assert [may_have(role, "a", TWO_HERE, both.__getitem__) for role in BOARDS] == [True, False]
    assert [may_have(role, "a", ONE, both.__getitem__) for role in BOARDS] == [True, True]


def test_two_of_one_address_make_room_for_one_of_another() -> None:
    held = {BOARDS[0]: "a", BOARDS[1]: "b"}
    assert not may_have(BOARDS[1], "b", APART, held.__getitem__)
    assert may_have(BOARDS[0], "a", APART, held.__getitem__)
