"""Configs with channels, for tests."""

from __future__ import annotations

from pathlib import Path

import yaml

from pumpwatch.config import Config, load
from pumpwatch.notify.channels import Channel, make_channels

SECRET = "s3cret-of-the-hook"


def config_of(folder: Path, **channels: dict[str, object]) -> Config:
    """Return a config with these channels, from a file in `folder`."""
    file = folder / "pumpwatch.yaml"
    file.write_text(yaml.safe_dump({"notify": channels, "store": {"dir": "data"}}, sort_keys=False), "utf-8")
    file.chmod(0o600)
    return load(file, {})


def channel_of(folder: Path, environ: dict[str, str] | None = None, **keys: object) -> Channel:
    """Return one channel. environ: what its secrets come from."""
    import os

    (channel,) = make_channels(config_of(folder, it=keys), environ={**os.environ, **(environ or {})})
    return channel
