"""Objects: there and back, whatever the content, and never faster than asked."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.backup.objects import PIECE_BYTES, ReadPace, pack, unpack
from pumpwatch.errors import StorageError


@settings(max_examples=20)
@given(st.binary(max_size=2000), st.integers(0, 400))
def test_an_object_gives_back_what_it_was_made_from(tmp_path_factory: pytest.TempPathFactory, piece: bytes, times: int) -> None:
    content, path = piece * times, tmp_path_factory.mktemp("o") / "x.zst"
    assert pack(io.BytesIO(content), path, [], ReadPace(0)) == (hashlib.sha256(content).hexdigest(), len(content))
    back = io.BytesIO()
    assert unpack(io.BytesIO(path.read_bytes()), back, "x.zst", []) == (hashlib.sha256(content).hexdigest(), len(content))
    assert back.getvalue() == content


def test_an_object_that_is_no_object_is_damaged() -> None:
    with pytest.raises(StorageError, match=r"x\.zst is damaged"):
        unpack(io.BytesIO(b"nonsense, and more of it"), io.BytesIO(), "x.zst", [])


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_rate_is_kept(tmp_path: Path) -> None:
    time = Time()
    pace = ReadPace(1_000_000, lambda: time.now, time.sleep)
    pack(io.BytesIO(bytes(10 * PIECE_BYTES)), tmp_path / "x", [], pace)
    assert time.now - 100 == pytest.approx(10 * PIECE_BYTES / 1e6)


def test_time_that_passed_unused_is_not_saved_up() -> None:
    time = Time()
    pace = ReadPace(1000, lambda: time.now, time.sleep)
    pace.passed(1000)
    time.now += 1000
    began = time.now
    pace.passed(2000)
    assert time.now - began == pytest.approx(2.0)
