"""Text made safe to show: without passwords, on one line, printable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.net.texts import masked, one_line, shown_address

SECRET = "s3cr3t"


def test_passwords_in_texts_are_masked() -> None:
    assert masked(f"GET https://u:{SECRET}@h/x and ws://u@h: no") == "GET https://***@h/x and ws://***@h: no"
    assert masked("wss://stream/ws/btcusdt@trade") == "wss://stream/ws/btcusdt@trade"
    assert one_line(f"a\r\nb \x1b[31m https://u:{SECRET}@h") == "a b \\x1b[31m https://***@h"
    assert shown_address(f"user:{SECRET}@h:1") == "***@h:1" and shown_address("127.0.0.1:9000") == "127.0.0.1:9000"


@given(st.text(alphabet="ab:/@#?[]. %\\", max_size=30))
def test_whatever_stands_before_an_at_is_not_shown(text: str) -> None:
    assert "zz" not in shown_address(f"http://u:zz{text}@host") and "zz" not in shown_address(f"u:zz{text}@host")


@pytest.mark.parametrize("most", [10, 40, 120])
def test_a_password_whose_sign_stands_behind_the_cut_is_not_shown(most: int) -> None:
    text = f"ws://{SECRET}{'x' * 2000}@host/"
    for sent in (text, text.encode()):
        assert SECRET not in one_line(sent, most)
        assert SECRET not in one_line(f"went to {sent!s}", most)
    assert one_line("a\n\x1b[2J b\u202e") == r"a \x1b[2J b\u202e"
