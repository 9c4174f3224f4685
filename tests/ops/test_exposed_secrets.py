"""Secrets that every user can read are named; others are not."""

from __future__ import annotations

from pathlib import Path

import yaml

from pumpwatch.config import load
from pumpwatch.ops.exposed_secrets import exposed_by_file, exposed_secrets

SECTIONS = {
    "notify": {"a": {"url": "tgram://TOKEN/1"}, "b": {"url": "tgram://${TOKEN}/1"},
               "c": {"webhook": "https://x/token", "secret": "file:key"}, "d": {"command": ["true"]},
               "e": {"webhook": "https://host:8080/", "secret": "${KEY}"}, "f": {"webhook": "https://me:pw@host/"},
               "g": {"webhook": "https://["}},
    "listing": {"sources": {"upbit_announcements": {"options": {"secret_key": "hush"}},
                            "own_signals": {"options": {"token_file": "key"}}, "upbit": {}}},
    "sinks": {"postgres": {"dsn": "host=x password=hush", "read_dsn": "postgresql://me@x/y", "backup_dsn": "postgresql://me:hush@x/y"},
              "questdb": {"password": "hush", "user": "me"}},
    "redis": {"nodes": ["127.0.0.1:1"], "password": "hush"},
    "net": {"proxy": "http://me:hush@127.0.0.1:1"},
    "backup": {"s3": {"access_key": "${KEY}", "secret_key": "hush"}}}


def exposed(folder: Path, mode: int, key_mode: int, **environ: str) -> list[str]:
    file = folder / "pumpwatch.yaml"
    file.write_text(yaml.safe_dump(SECTIONS), "utf-8")
    (folder / "key").write_text("k")
    file.chmod(mode)
    (folder / "key").chmod(key_mode)
    return [key for key, _ in exposed_secrets(load(file, environ))]


def test_a_file_that_others_can_read_exposes_what_is_written_in_it(tmp_path: Path) -> None:
    own = ["notify.a.url", "notify.c.webhook", "notify.f.webhook", "listing.sources.upbit_announcements.options.secret_key",
           "sinks.postgres.dsn", "sinks.postgres.backup_dsn", "sinks.questdb.password", "backup.s3.secret_key", "redis.password",
           "net.proxy"]
    assert exposed(tmp_path, 0o644, 0o600) == own
    assert exposed(tmp_path, 0o644, 0o600, PUMPWATCH_NOTIFY__A__URL="tgram://T/1") == own[1:]
    assert exposed(tmp_path, 0o640, 0o604) == ["notify.c.secret", "listing.sources.own_signals.options.token_file"]
    assert exposed(tmp_path, 0o600, 0o600) == []


def test_a_file_with_several_secrets_is_named_once(tmp_path: Path) -> None:
    file = tmp_path / "pumpwatch.yaml"
    file.write_text("backup: {s3: {access_key: abc, secret_key: def}}\n")
    file.chmod(0o644)
    assert exposed_by_file(load(file, {})) == {f"{file} is readable by others": ["backup.s3.access_key", "backup.s3.secret_key"]}


def test_without_a_file_nothing_is_exposed() -> None:
    assert exposed_secrets(load(None, {"PUMPWATCH_NOTIFY__A__URL": "tgram://T/1"})) == []
