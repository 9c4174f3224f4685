"""The bucket as a shelf: what is listed, read and removed there."""

from __future__ import annotations

import msgspec
import pytest

from pumpwatch.backup.plan import S3Target
from pumpwatch.backup.s3 import S3Shelf
from pumpwatch.errors import ConfigError, ServiceUnavailable, StorageError
from tests.backup.faulty_line import FaultyLine

SUM = "ab" * 32
OBJECT = f"objects/ab/{SUM}.zst"


def put(shelf: S3Shelf, name: str, content: bytes) -> None:
    shelf.client.put_object(Bucket=shelf.target.bucket, Key=shelf.key(name), Body=content)


def test_only_backups_below_the_prefix_are_seen_and_removed(bucket: S3Target) -> None:
    here, other = S3Shelf(bucket), S3Shelf(msgspec.structs.replace(bucket, prefix=""))
    put(here, "backup-20261128T000000Z.json", b"{}")
    put(here, OBJECT, b"12345")
    put(here, "objects/notes.txt", b"x")
    put(other, "backup-20261127T000000Z.json", b"{}")
    assert here.manifests() == ["backup-20261128T000000Z.json"] and here.sizes() == {OBJECT: 5}
    assert here.read("backup-20261128T000000Z.json") == b"{}"
    here.remove([OBJECT, "backup-20261128T000000Z.json"])
    assert (here.manifests(), here.sizes(), other.manifests()) == ([], {}, ["backup-20261127T000000Z.json"])


def test_an_object_that_is_not_there_is_missing(bucket: S3Target) -> None:
    with pytest.raises(StorageError, match="the object does not exist"), S3Shelf(bucket).open(OBJECT):
        pass


def test_a_line_that_cuts_without_end_is_given_up(bucket: S3Target, line: FaultyLine) -> None:
    put(S3Shelf(bucket), OBJECT, bytes(2_000_000))
    line.cut_down_after = 300
    shelf = S3Shelf(msgspec.structs.replace(bucket, endpoint=line.endpoint, timeout_s=2.0))
    with pytest.raises(ServiceUnavailable), shelf.open(OBJECT) as body:
        list(iter(lambda: body.read(65_536), b""))
    assert line.cuts > 1


def test_an_endpoint_that_is_no_address_is_refused(bucket: S3Target) -> None:
    with pytest.raises(ConfigError, match=r"backup.s3.endpoint: .*https://s3.example.com"):
        S3Shelf(msgspec.structs.replace(bucket, endpoint="nonsense"))
