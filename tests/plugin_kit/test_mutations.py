"""Mutations reach every place of a frame, and every run makes the same."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.plugin_kit.mutations import MUST_REFUSE, Raw, at, big_bodies, mutated_bodies, mutated_frames, places, put, without
from tests.plugin_kit.good_venue import FRAMES, TRADE

VALUE = {"a": [{"b": 1}, {"b": 2}], "c": "x"}


def test_every_place_is_found_read_replaced_and_left_out() -> None:
    assert list(places(VALUE)) == [(), ("a",), ("a", 0), ("a", 0, "b"), ("a", 1), ("a", 1, "b"), ("c",)]
    assert at(VALUE, ("a", 1, "b")) == 2
    assert json.loads(put(VALUE, ("a", 1, "b"), None)) == {"a": [{"b": 1}, {"b": None}], "c": "x"}
    assert put(VALUE, ("c",), Raw("1e400")) == b'{"a":[{"b":1},{"b":2}],"c":1e400}'
    assert json.loads(without(VALUE, ("a", 0))) == {"a": [{"b": 2}], "c": "x"}


def test_numbers_that_no_encoder_writes_are_among_the_mutations() -> None:
    made = mutated_frames([TRADE % 7], 10_000)
    assert TRADE.replace(b'"97000.5"', b"1e400") % 7 in made and TRADE.replace(b'"0.01"', b"NaN") % 7 in made


@settings(max_examples=8)
@given(st.lists(st.sampled_from(FRAMES), min_size=1, max_size=3, unique=True))
def test_mutations_are_the_same_at_each_run_and_never_the_frame_itself(seeds: list[bytes]) -> None:
    made = mutated_frames(seeds, 200)
    assert made == mutated_frames(seeds, 200)
    assert len(set(made)) == len(made) and not set(seeds) & set(made)


def test_bodies_begin_with_the_half_one_and_are_few_for_a_long_body() -> None:
    body = json.dumps([{"n": 1}]).encode()
    assert mutated_bodies(body)[0] == body[:len(body) // 2] and len(mutated_bodies(body, 50)) == 51
    assert len(mutated_bodies(b"x" * 20_001)) == 3
    assert [len(large) > 39_000_000 for _, large in big_bodies()] == [True, True] and MUST_REFUSE["null"] == b"null"
