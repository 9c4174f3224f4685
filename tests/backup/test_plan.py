"""The plan of a config: where to, with which keys, and never shown with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.backup.plan import backup_folder, plan_of, s3_target
from pumpwatch.config import Config, load
from pumpwatch.errors import ConfigError, UsageError


def config_of(folder: Path, text: str) -> Config:
    (folder / "pumpwatch.yaml").write_text(f"store: {{dir: data}}\n{text}")
    return load(folder / "pumpwatch.yaml", {})


def test_backups_lie_beside_the_data_folder_unless_the_config_names_another(tmp_path: Path) -> None:
    assert backup_folder(config_of(tmp_path, "")) == tmp_path / "data-backups"
    assert backup_folder(config_of(tmp_path, "backup: {folder: b}")) == tmp_path / "b"


def test_a_target_replaces_what_is_configured(tmp_path: Path) -> None:
    config = config_of(tmp_path, "backup: {folder: b, s3: {url: 's3://one-bucket/x'}}")
    here, there, usual = plan_of(config, str(tmp_path / "c")), plan_of(config, "s3://two-bucket/a//b/"), plan_of(config)
    assert (here.folder, here.s3) == (str(tmp_path / "c"), None)
    assert there.s3 is not None and (there.folder, there.s3.url) == (str(tmp_path / "b"), "s3://two-bucket/a/b/")
    assert usual.s3 is not None and usual.s3.url == "s3://one-bucket/x/"


def test_keys_come_from_the_environment_or_a_file_and_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the-secret\n")
    config = config_of(tmp_path, "backup: {s3: {url: 's3://one-bucket', access_key: '${MY_KEY}', secret_key: 'file:secret'}}")
    plan = plan_of(config, environ={"MY_KEY": "the-key"})
    assert plan.s3 is not None and (plan.s3.access_key, plan.s3.secret_key, plan.s3.prefix) == ("the-key", "the-secret", "")
    assert "the-secret" not in repr(plan) and "the-key" not in repr(plan)
    with pytest.raises(ConfigError, match=r"backup.s3.access_key: the environment variable MY_KEY is not set"):
        plan_of(config, environ={})


def test_the_config_is_left_out_where_that_is_asked(tmp_path: Path) -> None:
    assert str(tmp_path / "pumpwatch.yaml") in plan_of(config_of(tmp_path, "")).config_files
    assert plan_of(config_of(tmp_path, "backup: {with_config: false}")).config_files == []


def test_a_database_has_the_address_of_the_sink(tmp_path: Path) -> None:
    config = config_of(tmp_path, "sinks: {questdb: {addr: 'db:9', user: u, password: the-password}}\n"
                                 "backup: {questdb_parquet: true}")
    database = plan_of(config).database
    assert database is not None and (database.url, database.user, database.folder) == ("http://db:9", "u", "")
    assert "the-password" not in repr(database)


def test_an_address_that_is_not_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give s3://BUCKET/PREFIX"):
        s3_target(config_of(tmp_path, ""), "s3://A")
