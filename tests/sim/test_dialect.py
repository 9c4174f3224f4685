"""A dialect's derived facts: its name, its frames' opcodes, the paths of its protocols, its REST budget."""

from __future__ import annotations

import dataclasses

from pumpwatch.sim.dialect import BINARY, TEXT
from tests.sim.fakes import DIALECT, NO_RULES


def test_its_name_is_exchange_and_market() -> None:
    assert DIALECT.name == "fake.spot"


def test_frames_are_binary_if_the_dialect_or_their_form_is() -> None:
    mixed = dataclasses.replace(DIALECT, binary_forms=frozenset({"packed"}))
    assert [mixed.opcode("plain"), mixed.opcode("packed")] == [TEXT, BINARY]
    assert dataclasses.replace(DIALECT, binary=True).opcode("plain") == BINARY


def test_each_protocol_has_its_path_and_an_unknown_one_has_none() -> None:
    both = dataclasses.replace(DIALECT, variants={"other": "/other"})
    assert [both.path_of(""), both.path_of("other"), both.path_of("none")] == ["/ws", "/other", None]


def test_the_budget_of_a_window_is_its_share_of_a_minute() -> None:
    assert dataclasses.replace(NO_RULES, requests_per_minute=600, request_window_s=2).requests == 20
