"""The section `backup`: what is refused, and that it says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.config import load
from pumpwatch.errors import ConfigError


@pytest.mark.parametrize(("text", "said"), [
    ("at: '25:00'", "backup.at: give a time of day"),
    ("at: now", "backup.at: give a time of day"),
    ("questdb_folder: q\n  questdb_parquet: true", "choose one of the two"),
    ("s3: {url: 'https://bucket'}", "backup.s3.url: give s3://BUCKET/PREFIX"),
    ("s3: {access_key: A}", "belong together"),
    ("s3: {part_mb: 4}", "backup.s3.part_mb: must be at least 5"),
    ("recipients: [AGE-SECRET-KEY-1]", "begins with age1 or ssh-"),
    ("keep_days: 0", "keep_days"),
])
def test_what_cannot_work_is_refused_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "c.yaml").write_text(f"backup:\n  {text}\n")
    with pytest.raises(ConfigError, match=said):
        load(tmp_path / "c.yaml", {})


def test_a_whole_section_is_read_and_its_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("backup: {enabled: true, at: '23:59', folder: b, identity_file: key, recipients: [age1x],"
                                     " s3: {url: 's3://my-bucket/a/b', path_style: false}}")
    part = load(tmp_path / "c.yaml", {}).backup
    assert (part.folder, part.identity_file, part.s3.url) == (str(tmp_path / "b"), str(tmp_path / "key"), "s3://my-bucket/a/b")
