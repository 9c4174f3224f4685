"""A manifest: read as it was written, and refused where it is not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.backup.manifest import FORMAT, BackedUpFile, Manifest, decode, encode, name_of
from pumpwatch.errors import PumpWatchError, StorageError, UsageError

SUM = "ab" * 32
ROW = BackedUpFile("journal/a.sqlite", 10, SUM, f"objects/ab/{SUM}.zst", 5, trades=7, first_timestamp=1, last_timestamp=9)
WHOLE = Manifest("backup-20261128T000000Z.json", "1", 5, 0.1, False, [ROW, BackedUpFile("ledger.sqlite", 1, SUM, ROW.object, 5)])


def test_a_manifest_is_read_as_it_was_written() -> None:
    again = decode(encode(WHOLE), "here")
    assert again == WHOLE
    assert (again.bytes, again.trades, again.span(), again.objects) == (11, 7, (1, 9), {ROW.object: 5})


def test_the_name_is_the_time() -> None:
    assert name_of(1_795_827_669_999_999_999) == "backup-20261128T010109Z.json"


@given(st.integers(0, len(encode(WHOLE)) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_noticed_or_changes_nothing(at: int, flip: int) -> None:
    content = bytearray(encode(WHOLE))
    content[at] ^= flip
    try:
        found = decode(bytes(content), "here")
    except PumpWatchError as error:
        said = error.message
    else:
        said = "here" if found == WHOLE else "another backup"
    assert "here" in said


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", encode(WHOLE)[:-20]])
def test_a_damaged_manifest_is_one_message(content: bytes) -> None:
    with pytest.raises(StorageError, match="here: the manifest is damaged; take another backup"):
        decode(content, "here")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\0b"])
def test_a_name_outside_the_folder_is_refused(name: str) -> None:
    with pytest.raises(StorageError, match="a place outside the folder"):
        decode(encode(msgspec.structs.replace(WHOLE, files=[msgspec.structs.replace(ROW, name=name)])), "here")


def test_an_object_outside_the_folder_is_refused() -> None:
    with pytest.raises(StorageError, match="outside"):
        decode(encode(msgspec.structs.replace(WHOLE, files=[msgspec.structs.replace(ROW, object="../../x")])), "here")


def test_a_newer_format_is_called_that() -> None:
    with pytest.raises(UsageError, match="a newer version wrote this backup"):
        decode(encode(msgspec.structs.replace(WHOLE, format=FORMAT + 1)), "here")
