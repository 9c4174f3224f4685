"""The part of the config that a backup needs, so that a separate process can make it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.cluster.work_claims import Turn
from pumpwatch.config import Config, PluginsConfig
from pumpwatch.config_backup import S3_URL, BackupConfig
from pumpwatch.config_redis import RedisConfig
from pumpwatch.errors import UsageError
from pumpwatch.notify.secret_values import secret_value

FOLDER_SUFFIX = "-backups"  # of the default folder, next to the data folder


class S3Target(msgspec.Struct, frozen=True):
    """A bucket and the way to reach it. Empty keys mean those of the environment. prefix: empty, or ends with a slash."""

    bucket: str
    prefix: str
    endpoint: str = ""
    region: str = ""
    path_style: bool = True
    access_key: str = ""
    secret_key: str = ""
    ca_file: str = ""
    keep_days: int = 90
    part_bytes: int = 16 << 20
    timeout_s: float = 20.0

    def __repr__(self) -> str:
        return f"S3Target({self.url})"  # never the keys

    @property
    def url(self) -> str:
        """Return the address."""
        return f"s3://{self.bucket}/{self.prefix}"


class QuestDBSource(msgspec.Struct, frozen=True):
    """A QuestDB. folder: its root on this host; empty if its tables are exported as Parquet."""

    url: str
    user: str = ""
    password: str = ""
    ca_file: str = ""
    folder: str = ""
    prefix: str = ""  # of the tables

    def __repr__(self) -> str:
        return f"QuestDBSource({self.url})"


class SinkBackups(msgspec.Struct, frozen=True):
    """The sinks to back up: their options, and the config of their plugins."""

    options: dict[str, dict[str, Any]]
    plugins: PluginsConfig

    def __repr__(self) -> str:
        return f"SinkBackups({', '.join(self.options)})"  # never the passwords


class Shared(msgspec.Struct, frozen=True):
    """The turn of this member to back up what all members of a cluster share, and the Redis that knows of it."""

    redis: RedisConfig
    cluster: str
    turn: Turn

    def __repr__(self) -> str:
        return f"Shared({self.turn})"  # never the password


class BackupPlan(msgspec.Struct, frozen=True):
    """Sources and target of a backup. Paths are absolute. occasion: of a backup that one member of a cluster makes for all."""

    data: str
    archives: str
    folder: str
    config_files: list[str] = []
    keep_days: int = 7
    mb_per_s: float = 0.0  # 0: as fast as the disk
    recipients: list[str] = []
    database: QuestDBSource | None = None
    sinks: SinkBackups | None = None
    redis: RedisConfig | None = None
    s3: S3Target | None = None
    occasion: str = ""
    shared: Shared | None = None


def plan_of(config: Config, target: str = "", environ: Mapping[str, str] | None = None) -> BackupPlan:
    """Return the plan of a config; `target` is a folder or an s3:// address instead of the configured ones.

    A folder excludes S3; an address replaces only the configured address.
    """
    part = config.backup
    folder = backup_folder(config)
    s3 = s3_target(config, part.s3.url, environ) if part.s3.url else None
    if target.startswith("s3://"):
        s3 = s3_target(config, target, environ)
    elif target:
        folder, s3 = Path(target).expanduser().absolute(), None
    files = [config.source.name] if config.source.is_file else []
    return BackupPlan(
        data=config.store.dir, archives=config.listing.archive_dir, folder=str(folder),
        config_files=[*(str(Path(name).absolute()) for name in files), config.symbols_file] if part.with_config else [],
        keep_days=part.keep_days, mb_per_s=part.mb_per_s, recipients=part.recipients, s3=s3,
        database=_database(config, part), sinks=_sinks(config), redis=config.redis if part.redis else None)


def backup_folder(config: Config) -> Path:
    """Return the folder of local backups: the configured one, or one next to the data folder."""
    data = Path(config.store.dir)
    return Path(config.backup.folder) if config.backup.folder else data.with_name(data.name + FOLDER_SUFFIX)


def s3_target(config: Config, url: str, environ: Mapping[str, str] | None = None) -> S3Target:
    """Return a bucket with the config's endpoint and keys. Raises UsageError for an address that is not one of S3."""
    found = S3_URL.fullmatch(url)
    if not found:
        raise UsageError(f"{url}: not an address of S3", "give s3://BUCKET/PREFIX")
    part, prefix = config.backup.s3, re.sub(r"/+", "/", found[2] or "").strip("/")
    folder = Path(config.source.name).absolute().parent

    def secret(key: str) -> str:
        where = f"backup.s3.{key}"
        return secret_value(getattr(part, key), f"{config.source.at(where)}: {where}", folder, environ)

    return S3Target(
        bucket=found[1], prefix=f"{prefix}/" if prefix else "", endpoint=part.endpoint, region=part.region,
        path_style=part.path_style, access_key=secret("access_key"), secret_key=secret("secret_key"), ca_file=part.ca_file,
        keep_days=part.keep_days, part_bytes=part.part_mb << 20, timeout_s=part.timeout_s)


def _sinks(config: Config) -> SinkBackups | None:
    names = config.backup.sinks
    return SinkBackups({name: dict(config.sinks[name]) for name in names}, config.plugins) if names else None


def _database(config: Config, part: BackupConfig) -> QuestDBSource | None:
    if not (part.questdb_folder or part.questdb_parquet):
        return None
    options: dict[str, Any] = config.sinks.get("questdb") or {}
    scheme = "https" if options.get("tls") else "http"
    return QuestDBSource(url=f"{scheme}://{options.get('addr', '127.0.0.1:9000')}", user=str(options.get("user", "")),
                         password=str(options.get("password", "")), ca_file=str(options.get("ca_file", "")),
                         folder=part.questdb_folder, prefix=str(options.get("table_prefix", "")))
