"""A plugin folder is used only if nobody else can change what is loaded from it."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from pumpwatch.errors import PluginError
from pumpwatch.plugin_folder import files_in, import_file, points_of, put_on_path, why_not, why_unsafe


def wheel_of(folder: Path, name: str, *files: str, points: str = "[pumpwatch.plugins]\nshort = module\n") -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        if points:
            wheel.writestr(f"{name}-1.0.dist-info/entry_points.txt", points)
        for file in files:
            wheel.writestr(file, "")
    return path


def test_a_folder_that_others_may_write_to_is_unsafe(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for mode in (0o775, 0o757, 0o1777):  # sticky keeps nobody from adding a file
        folder.chmod(mode)
        assert why_unsafe(folder) == f"others may write to {folder} (mode {mode:04o}): `chmod go-w {folder}`"
    folder.chmod(0o755)
    assert why_unsafe(folder) == ""


def test_a_folder_above_may_be_sticky_but_not_open(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    tmp_path.chmod(0o777)
    assert f"others may write to {tmp_path} " in why_unsafe(folder)
    tmp_path.chmod(0o1777)
    assert why_unsafe(folder) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_another_user_is_unsafe(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    os.chown(tmp_path / "p", 12345, 0)
    assert f"{tmp_path / 'p'} belongs to user 12345" in why_unsafe(tmp_path / "p")


def test_a_link_is_as_safe_as_both_its_ends(tmp_path: Path) -> None:
    (tmp_path / "open" / "p").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "open" / "p")
    assert why_unsafe(tmp_path / "link") == ""
    (tmp_path / "open").chmod(0o777)
    assert str(tmp_path / "open") in why_unsafe(tmp_path / "link")


def test_wheels_and_python_files_are_found_in_order_without_private_ones(tmp_path: Path) -> None:
    for name in ("b.py", "a.whl", "_private.py", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in files_in(tmp_path)] == ["a.whl", "b.py"]


def test_a_file_is_loaded_unless_it_or_its_compiled_code_can_be_changed(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.touch()
    assert why_not(file) == ""
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__").chmod(0o777)
    assert "__pycache__" in why_not(file)
    (tmp_path / "__pycache__").chmod(0o755)
    file.chmod(0o666)
    assert "chmod go-w" in why_not(file)


def test_a_wheel_needs_entry_points_and_no_compiled_code(tmp_path: Path) -> None:
    assert why_not(wheel_of(tmp_path, "good")) == ""
    assert "install it with pip" in why_not(wheel_of(tmp_path, "compiled", "compiled/fast.so"))
    assert "it has no entry points" in why_not(wheel_of(tmp_path, "plain", points=""))
    (tmp_path / "broken.whl").write_bytes(b"PK nothing")
    assert "not a readable wheel" in why_not(tmp_path / "broken.whl")


def test_the_plugins_of_a_wheel_are_known_without_importing_it(tmp_path: Path) -> None:
    (point,) = points_of(wheel_of(tmp_path, "good"))
    assert (point.name, point.value) == ("short", "module") and "module" not in sys.modules


def test_a_wheel_is_put_on_the_path_once_and_taken_off() -> None:
    wheel = Path("/nowhere/mine.whl")
    for wanted, times in ((True, 1), (True, 1), (False, 0), (False, 0)):
        put_on_path(wheel, wanted)
        assert sys.path.count(str(wheel)) == times


def test_a_file_is_imported_under_a_name_of_its_own_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("WHO = 'mine'")
    assert import_file(tmp_path / "json.py").WHO == "mine" and sys.modules["json"].__name__ == "json"
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        import_file(tmp_path / "bad.py")
    assert "pumpwatch_folder_bad" not in sys.modules
    with pytest.raises(PluginError):
        import_file(tmp_path / "notes.txt")
