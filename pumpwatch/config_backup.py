"""The section `backup`: the time of the backup, its destination, and its retention."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_section import NotNegative, Positive, PositiveInt, Section
from pumpwatch.errors import ConfigError

TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
S3_URL = re.compile(r"s3://([a-z0-9][a-z0-9.\-]{1,61}[a-z0-9])(?:/(.*))?")
LEAST_PART_MB = 5  # S3 rejects smaller parts, except the last one


class S3Config(Section):
    """A bucket for copies of backups. Without keys, the AWS environment variables and files are used."""

    url: str = ""
    endpoint: str = ""
    region: str = ""
    path_style: bool = True
    access_key: str = ""
    secret_key: str = ""
    ca_file: str = ""
    keep_days: PositiveInt = 90
    part_mb: PositiveInt = 16
    timeout_s: Positive = 20.0


class BackupConfig(Section):
    """The daily backup."""

    enabled: bool = False
    at: str = "03:30"
    folder: str = ""
    keep_days: PositiveInt = 7
    mb_per_s: NotNegative = 50.0
    with_config: bool = True
    questdb_folder: str = ""
    questdb_parquet: bool = False
    sinks: list[str] = []
    redis: bool = False
    recipients: list[str] = []
    identity_file: str = ""
    s3: S3Config = msgspec.field(default_factory=S3Config)


def check_backup(backup: BackupConfig, source: ConfigSource, sinks: Collection[str] = (), has_redis: bool = False) -> None:
    """Raise ConfigError for a time, an address or a combination that cannot work.

    sinks: the names of the configured sinks. has_redis: whether the config has Redis nodes.
    """
    def wrong(key: str, problem: str, hint: str = "") -> ConfigError:
        return ConfigError(f"{source.at(key)}: {key}: {problem}", hint)

    if not TIME_OF_DAY.fullmatch(backup.at):
        raise wrong("backup.at", "give a time of day in UTC, such as \"03:30\"")
    if backup.questdb_folder and backup.questdb_parquet:
        raise wrong("backup.questdb_parquet", "backup.questdb_folder copies the same tables", "choose one of the two")
    for name in backup.sinks:
        if name not in sinks:
            raise wrong("backup.sinks", f"{name} is not in `sinks`", "name sinks of this config, such as [postgres]")
        if name == "questdb":
            raise wrong("backup.sinks", "QuestDB has its own keys", "set backup.questdb_folder or backup.questdb_parquet")
    if backup.redis and not has_redis:
        raise wrong("backup.redis", "redis.nodes is empty")
    if backup.s3.url and not S3_URL.fullmatch(backup.s3.url):
        raise wrong("backup.s3.url", "give s3://BUCKET/PREFIX")
    if bool(backup.s3.access_key) != bool(backup.s3.secret_key):
        raise wrong("backup.s3.access_key", "access_key and secret_key belong together")
    if backup.s3.part_mb < LEAST_PART_MB:
        raise wrong("backup.s3.part_mb", f"must be at least {LEAST_PART_MB}")
    for recipient in backup.recipients:
        if not recipient.startswith(("age1", "ssh-ed25519 ", "ssh-rsa ")):
            raise wrong("backup.recipients", "a recipient begins with age1 or ssh-", "`rage-keygen` or `age-keygen` prints one")
