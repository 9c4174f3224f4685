"""Backups in a real S3 server: whole or not there, whatever the line and the server do."""

from __future__ import annotations

from pathlib import Path

import botocore.auth
import msgspec
import numpy as np
import pyrage
import pytest

from pumpwatch.backup.checking import check_backup
from pumpwatch.backup.make import make
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.plan import BackupPlan, S3Target
from pumpwatch.backup.restore import restore
from pumpwatch.backup.s3 import S3Shelf
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.state import read_state
from pumpwatch.backup.upload import OWNER, claim, upload
from pumpwatch.clock import NS_PER_S, Clock, FakeClock
from pumpwatch.errors import ConfigError, ServiceUnavailable
from tests.backup.faulty_line import FaultyLine
from tests.ops.data_folder import everything

PART = 5 << 20  # the smallest that S3 takes
LARGE = 2 * PART + 1000
DAY_NS = 86_400 * NS_PER_S


@pytest.fixture
def large(plan: BackupPlan) -> BackupPlan:
    """A plan with a file that goes up in three parts, and does not get smaller."""
    report = Path(plan.data) / "reports" / "2026-11-02.json"
    report.parent.mkdir()
    report.write_bytes(np.random.default_rng(1).bytes(LARGE))
    return plan


def with_s3(plan: BackupPlan, target: S3Target) -> BackupPlan:
    return msgspec.structs.replace(plan, s3=target)


def test_a_backup_in_s3_is_verified_and_restored_from_there(large: BackupPlan, bucket: S3Target, stored: Path,
                                                            tmp_path: Path) -> None:
    target = msgspec.structs.replace(bucket, part_bytes=PART)
    made = make(with_s3(large, target))
    assert (made.error, made.exit_code) == ("", 0) and made.uploaded_bytes > LARGE
    shelf = S3Shelf(target)
    manifest = manifests_of(shelf, "")[0]
    assert list(check_backup(shelf, manifest, [], shelf.sizes())) == []
    restore(shelf, manifest, tmp_path / "again", [])
    assert len(everything(tmp_path / "again")) == len(everything(stored)) == 10_000
    again = make(with_s3(large, target))
    assert again.uploaded_bytes < 200_000  # the new manifest, and the ledger's copy
    assert S3Shelf(target).manifests() == FolderShelf(Path(large.folder)).manifests()


def test_plain_backups_stay_here_once_recipients_are_set(plan: BackupPlan, bucket: S3Target) -> None:
    make(plan)
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    made = make(with_s3(msgspec.structs.replace(plan, recipients=[recipient]), bucket))
    assert made.error == "" and S3Shelf(bucket).manifests() == [made.name]
    assert all(name.endswith(".zst.age") for name in S3Shelf(bucket).sizes())


def test_an_upload_that_was_cut_off_goes_on_where_it_was(large: BackupPlan, bucket: S3Target, line: FaultyLine) -> None:
    target = msgspec.structs.replace(bucket, part_bytes=PART, endpoint=line.endpoint, timeout_s=5.0)
    line.cut_up_after = PART + PART // 2  # in the second part
    made = make(with_s3(large, target))
    assert made.exit_code == 69 and "backup is complete" in made.error and line.cuts >= 2
    assert S3Shelf(bucket).manifests() == [], "a backup without all of its objects is not there"
    assert read_state(Path(large.data)).last_error
    line.repair()
    line.uploaded = 0
    sent = upload(FolderShelf(Path(large.folder)), S3Shelf(target))
    assert sent < LARGE - PART // 2 and line.uploaded < LARGE - PART // 2, "a part that was there went up again"
    shelf = S3Shelf(bucket)
    assert list(check_backup(shelf, manifests_of(shelf, "")[0], [], shelf.sizes())) == []


def test_a_part_that_differs_is_sent_again(large: BackupPlan, bucket: S3Target) -> None:
    target = msgspec.structs.replace(bucket, part_bytes=PART)
    make(large)
    shelf, there = FolderShelf(Path(large.folder)), S3Shelf(target)
    name = max(shelf.sizes(), key=shelf.sizes().__getitem__)
    place = {"Bucket": target.bucket, "Key": there.key(name)}
    number = there.client.create_multipart_upload(**place)["UploadId"]
    there.client.upload_part(**place, UploadId=number, PartNumber=1, Body=bytes(PART))
    upload(shelf, there)
    assert list(check_backup(there, manifests_of(there, "")[0], [], there.sizes())) == []
    assert there.client.list_multipart_uploads(Bucket=target.bucket).get("Uploads", []) == []


def test_a_download_that_is_cut_off_goes_on_where_it_was(large: BackupPlan, bucket: S3Target, line: FaultyLine,
                                                         tmp_path: Path) -> None:
    make(with_s3(large, bucket))
    line.cut_down_after, line.cuts_left = 4 << 20, 2
    shelf = S3Shelf(msgspec.structs.replace(bucket, endpoint=line.endpoint))
    restore(shelf, manifests_of(shelf, "")[0], tmp_path / "again", [])
    assert line.cuts == 2 and len(everything(tmp_path / "again")) == 10_000


def test_a_server_that_hangs_is_given_up_and_the_local_backup_stays(plan: BackupPlan, bucket: S3Target, line: FaultyLine) -> None:
    line.hangs = True
    made = make(with_s3(plan, msgspec.structs.replace(bucket, endpoint=line.endpoint, timeout_s=0.3)))
    assert made.exit_code == 69 and "the next backup continues this upload" in made.error
    shelf = FolderShelf(Path(plan.folder))
    assert list(check_backup(shelf, manifests_of(shelf, "")[0], [], shelf.sizes())) == []


@pytest.mark.parametrize("change", [{"secret_key": "wrong-secret-of-mine"}, {"access_key": "unknown-key"}])
def test_keys_that_s3_refuses_are_one_message_without_them(plan: BackupPlan, bucket: S3Target, change: dict[str, str]) -> None:
    made = make(with_s3(plan, msgspec.structs.replace(bucket, **change)))
    assert made.exit_code == 78 and "check backup.s3.access_key" in made.error
    assert not any(key in made.error for key in (*change.values(), bucket.secret_key))


def test_a_wrong_clock_is_called_that(plan: BackupPlan, bucket: S3Target, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    right = botocore.auth.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime",
                        lambda *args, **options: right(*args, **options) - timedelta(hours=2))
    made = make(with_s3(plan, bucket))
    assert made.exit_code == 69 and "RequestTimeTooSkewed" in made.error and "timedatectl" in made.error


def test_a_bucket_that_is_not_there_is_named(bucket: S3Target) -> None:
    with pytest.raises(ConfigError, match="the bucket nowhere does not exist"):
        S3Shelf(msgspec.structs.replace(bucket, bucket="nowhere")).manifests()


def test_a_server_that_is_not_there_is_unavailable(bucket: S3Target) -> None:
    with pytest.raises(ServiceUnavailable, match="listing failed"):
        S3Shelf(msgspec.structs.replace(bucket, endpoint="http://127.0.0.1:9", timeout_s=0.2)).manifests()


def test_while_s3_refuses_the_folder_keeps_what_only_it_has(plan: BackupPlan) -> None:
    start_ns = Clock().now_ns() // NS_PER_S * NS_PER_S
    away = S3Target(bucket="away", prefix="", endpoint="http://127.0.0.1:9", access_key="key", secret_key="hush", timeout_s=0.2)
    made = [make(with_s3(plan, away), FakeClock(start_ns + day * DAY_NS)) for day in (0, 10)]
    assert all(one.error and not one.removed for one in made)
    assert len(FolderShelf(Path(plan.folder)).manifests()) == 2
    assert make(plan, FakeClock(start_ns + 20 * DAY_NS)).removed == [one.name for one in made]


def test_s3_keeps_backups_for_longer_than_the_folder(plan: BackupPlan, bucket: S3Target) -> None:
    start_ns = Clock().now_ns() // NS_PER_S * NS_PER_S
    days = with_s3(plan, msgspec.structs.replace(bucket, keep_days=30))
    for day in (0, 10, 20, 45):
        make(days, FakeClock(start_ns + day * DAY_NS))
    assert len(FolderShelf(Path(plan.folder)).manifests()) == 1
    shelf = S3Shelf(bucket)
    assert len(shelf.manifests()) == 2, "those of day 20 and 45"
    needed = {name for manifest in manifests_of(shelf, "", every=True) for name in manifest.objects}
    assert set(shelf.sizes()) == needed


def test_two_collectors_do_not_share_a_prefix(plan: BackupPlan, bucket: S3Target, stored: Path) -> None:
    assert make(with_s3(plan, bucket)).error == ""
    own = (stored / "ledger.identity").read_text("utf-8").strip()
    shelf = S3Shelf(bucket)
    assert own and shelf.holds(OWNER)
    claim(shelf, own)
    with pytest.raises(ConfigError, match=f"another collector \\({own}, this one is 123\\)"):
        claim(shelf, "123")
    (stored / "ledger.identity").write_text("of another ledger", "utf-8")
    made = make(with_s3(plan, bucket))
    assert "another collector" in made.error and made.exit_code == 78 and made.uploaded_bytes == 0
    assert len(FolderShelf(Path(plan.folder)).manifests()) == 2, "the backup is made here all the same"


def test_backups_that_the_bucket_would_not_keep_are_not_sent(plan: BackupPlan, bucket: S3Target) -> None:
    start_ns = Clock().now_ns()
    for day in range(3):
        make(plan, FakeClock(start_ns + day * DAY_NS))
    names = FolderShelf(Path(plan.folder)).manifests()
    assert len(names) == 3
    target = msgspec.structs.replace(bucket, keep_days=1)
    now_ns = start_ns + 3 * DAY_NS
    assert make(with_s3(plan, target), FakeClock(now_ns)).error == ""
    assert S3Shelf(target).manifests() == FolderShelf(Path(plan.folder)).manifests()[-2:]
    assert upload(FolderShelf(Path(plan.folder)), S3Shelf(target), now_ns - DAY_NS) == 0, "and are not sent again"
    assert upload(FolderShelf(Path(plan.folder)), S3Shelf(target), now_ns + DAY_NS) == 0
