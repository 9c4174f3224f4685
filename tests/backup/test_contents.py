"""A backup holds the plain files of the data folder, the archives and the config."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.backup.contents import archive_files, archives, config_files, is_same, reports


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_archives_are_folders_with_a_manifest_that_are_in_place(tmp_path: Path) -> None:
    write(tmp_path, "KITE_1/manifest.json", "KITE_1/raw/a.json", ".KITE_2/manifest.json", "journal/x.sqlite", "notes/a.txt")
    assert [path.name for path in archives(tmp_path)] == ["KITE_1"] and archives(tmp_path / "nowhere") == []
    manifest, files = archive_files(tmp_path / "KITE_1")
    assert [file.name for file in files] == ["KITE_1/manifest.json", "KITE_1/raw/a.json"]
    assert is_same(tmp_path / "KITE_1", manifest)
    write(tmp_path, "KITE_1/more")
    (tmp_path / "KITE_1/manifest.json").write_text("another pass")
    assert not is_same(tmp_path / "KITE_1", manifest) and not is_same(tmp_path / "gone", manifest)


def test_links_out_of_an_archive_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "KITE_1/manifest.json", "secret")
    (tmp_path / "KITE_1" / "link").symlink_to(tmp_path / "secret")
    assert [file.name for file in archive_files(tmp_path / "KITE_1")[1]] == ["KITE_1/manifest.json"]


def test_reports_and_config_files_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, "reports/2026-11-02.json", "reports/notes.txt", "a/pumpwatch.yaml", "b/pumpwatch.yaml")
    assert [file.name for file in reports(tmp_path)] == ["reports/2026-11-02.json"]
    found = list(config_files([str(tmp_path / "a/pumpwatch.yaml"), str(tmp_path / "none"), str(tmp_path / "b/pumpwatch.yaml")]))
    assert [(file.name, file.path) for file in found] == [("config/pumpwatch.yaml", tmp_path / "a/pumpwatch.yaml")]
