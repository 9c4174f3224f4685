"""The words by which a person names a backup."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.backup.make import make
from pumpwatch.backup.places import manifests_of, place_of
from pumpwatch.backup.plan import BackupPlan
from pumpwatch.config import Config
from pumpwatch.errors import UsageError


def config_for(plan: BackupPlan) -> Config:
    config = Config()
    config.store.dir, config.backup.folder = plan.data, plan.folder
    return config


def test_a_folder_a_manifest_and_nothing_at_all(plan: BackupPlan) -> None:
    made, config = make(plan), config_for(plan)
    for where, name in (("", ""), (plan.folder, ""), (f"{plan.folder}/{made.name}", made.name)):
        shelf, found = place_of(config, where)
        assert (shelf.where, found) == (plan.folder, name)
        assert manifests_of(shelf, found)[0].name == made.name


def test_an_address_of_s3_and_a_manifest_in_it(plan: BackupPlan) -> None:
    manifest = "backup-20261128T000000Z.json"
    for where, name in (("s3://my-bucket/a", ""), (f"s3://my-bucket/a/{manifest}", manifest)):
        shelf, found = place_of(config_for(plan), where)
        assert (shelf.where, found) == ("s3://my-bucket/a/", name)


def test_what_is_neither_is_refused(plan: BackupPlan, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("x")
    for where, said in ((tmp_path / "b.tar", "not a backup of pumpwatch"), (tmp_path / "nowhere", "no such folder")):
        with pytest.raises(UsageError, match=said):
            place_of(config_for(plan), str(where))
    with pytest.raises(UsageError, match="does not hold a backup"):
        manifests_of(place_of(config_for(plan), str(tmp_path))[0], "")
