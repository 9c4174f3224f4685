"""Text functions of titles: normal form, prefixes, parentheses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.listing.title_grammar import HOLE, MAX_TITLE, normalise, split_groups, split_prefixes


@given(st.text(alphabet="()ab", max_size=60))
def test_groups_are_balanced_and_nothing_is_lost(text: str) -> None:
    flat, groups = split_groups(text)
    assert flat.count(HOLE) == len(groups)
    assert all(group.count("(") == group.count(")") or "(" in group for group in groups)
    rebuilt = flat
    for group in groups:
        rebuilt = rebuilt.replace(HOLE, f"({group})", 1)
    assert rebuilt == text


def test_normal_form_is_nfkc_with_single_spaces_and_bounded() -> None:
    assert normalise("　Ｋ（ＲＷ）\t \n마켓 ") == "K(RW) 마켓"
    assert normalise("\ufeffKI\u200bTE \u202e마켓") == "KITE 마켓"
    assert len(normalise("ﷺ" * 5000)) <= MAX_TITLE
    assert split_prefixes("[거래] [긴급]  제목 [끝]") == (("거래", "긴급"), "제목 [끝]")


@pytest.mark.parametrize(("text", "flat", "groups"), [
    ("a(b)c", f"a{HOLE}c", ["b"]), ("a(b(c)) d", f"a{HOLE} d", ["b(c)"]), ("a(b", "a(b", []), ("a)b(c)", f"a)b{HOLE}", ["c"]),
    ("((a)", f"({HOLE}", ["a"]), ("( a )", HOLE, ["a"]), ("", "", [])])
def test_balanced_outermost_parentheses_become_holes_and_others_stay(text: str, flat: str, groups: list[str]) -> None:
    assert split_groups(text) == (flat, groups)


@pytest.mark.parametrize(("text", "prefixes", "rest"), [
    ("제목", (), "제목"), ("[a][b] c", ("a", "b"), "c"), ("a [b]", (), "a [b]"), ("[a", (), "[a"), ("[ ] x", ("",), "x")])
def test_only_leading_brackets_are_prefixes(text: str, prefixes: tuple[str, ...], rest: str) -> None:
    assert split_prefixes(text) == (prefixes, rest)


def test_a_hole_in_a_title_is_not_taken_for_parentheses() -> None:
    assert HOLE not in normalise(f"a{HOLE}b")
