"""Each step says what it does, does it only where needed, and can be undone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pumpwatch.host.machine import StepFailed, TargetMachine
from pumpwatch.host.steps import Command, FileAccess, OldCopies, OwnedFolder, PlacedFile, Removal, ServiceAccount, remove
from tests.host.tree import Programs, machine

MINE = FileAccess("me", "us", 0o750)


@pytest.fixture
def there(tmp_path: Path) -> TargetMachine:
    """A machine with an account that has the number of whoever runs the tests, so that nobody need be root."""
    made = machine(tmp_path)
    (made.root / "etc/passwd").write_text(f"me:x:{os.geteuid()}:{os.getegid()}::/:/bin/sh\n")
    (made.root / "etc/group").write_text(f"us:x:{os.getegid()}:\n")
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_with_its_parents_once(there: TargetMachine) -> None:
    step = OwnedFolder(there, "/a/b", MINE)
    assert step.describe() == "install -d -o me -g us -m 750 /a/b"
    assert step.needed()
    step.do()
    assert (mode(there.root / "a/b"), mode(there.root / "a")) == (0o750, 0o755)
    assert not OwnedFolder(there, "/a/b", MINE).needed()
    step.undo()
    assert not (there.root / "a").exists()


def test_a_folder_with_another_mode_gets_it_back_when_undone(there: TargetMachine) -> None:
    folder = there.root / "data"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    (folder / "trades").touch()
    step = OwnedFolder(there, "/data", MINE)
    step.do()
    assert mode(folder) == 0o750
    step.undo()
    assert mode(folder) == 0o777 and (folder / "trades").exists()


def test_a_file_is_placed_and_an_older_one_comes_back_when_undone(there: TargetMachine, tmp_path: Path) -> None:
    source, target = tmp_path / "new", there.root / "x"
    source.write_text("new")
    target.write_text("old")
    step = PlacedFile(there, "/x", source, MINE)
    assert step.needed() and step.describe() == f"install -o me -g us -m 750 {source} /x"
    step.do()
    assert (target.read_text(), mode(target)) == ("new", 0o750)
    assert not PlacedFile(there, "/x", source, MINE).needed()
    step.undo()
    assert target.read_text() == "old"
    step = PlacedFile(there, "/x", "text", MINE)
    step.do()
    step.finish()
    assert target.read_text() == "text" and [path.name for path in there.root.glob(".*")] == []


def test_a_first_file_is_gone_when_undone_and_the_program_after_it_runs_again(there: TargetMachine) -> None:
    programs = Programs(reread=(0, ""))
    step = PlacedFile(TargetMachine(there.root, programs), "/x", "text", MINE, afterwards=("reread",))
    assert step.describe() == "write /x (owner me, group us, mode 0750), then reread"
    step.do()
    step.undo()
    assert not (there.root / "x").exists() and programs.asked == [("reread",), ("reread",)]


def test_a_kept_file_is_written_once_and_a_link_in_its_place_is_left_alone(there: TargetMachine) -> None:
    assert PlacedFile(there, "/x", "ours", MINE, keep=True).needed()
    (there.root / "x").write_text("theirs")
    assert not PlacedFile(there, "/x", "ours", MINE, keep=True).needed()
    (there.root / "y").symlink_to("/elsewhere")
    assert not PlacedFile(there, "/y", "ours", MINE, keep=True).needed()
    assert PlacedFile(there, "/y", "ours", MINE).needed()


def test_a_removed_folder_comes_back_when_undone_and_goes_for_ever_at_the_end(there: TargetMachine) -> None:
    (there.root / "opt/pumpwatch").mkdir(parents=True)
    (there.root / "opt/pumpwatch/file").touch()
    step = Removal(there, "/opt/pumpwatch")
    assert step.needed() and step.describe() == "rm -rf /opt/pumpwatch"
    step.do()
    assert not step.needed()
    step.undo()
    assert (there.root / "opt/pumpwatch/file").exists()
    step.do()
    step.finish()
    assert list((there.root / "opt").iterdir()) == []


def test_a_removal_that_was_killed_does_not_stand_in_the_way_of_the_next_one(there: TargetMachine) -> None:
    for name in ("pumpwatch", ".pumpwatch.removed"):
        (there.root / f"opt/{name}").mkdir(parents=True)
        (there.root / f"opt/{name}/file").touch()
    step = Removal(there, "/opt/pumpwatch")
    step.do()
    step.finish()
    assert list((there.root / "opt").iterdir()) == []


def test_a_removal_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/link").symlink_to(tmp_path / "kept")
    remove(tmp_path / "gone")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"] and (tmp_path / "kept/file").exists()


def test_a_command_that_failed_is_undone_and_explained() -> None:
    programs = Programs(start=(1, "see elsewhere\n"), why=(0, "the port is taken\n"), stop=(0, ""))
    step = Command(TargetMachine(run=programs), ("systemctl", "start"), True, ("systemctl", "stop"), ("journalctl", "why"))
    step.undo()
    assert programs.asked == []  # nothing was begun
    with pytest.raises(StepFailed) as caught:
        step.do()
    assert caught.value.hint == "the port is taken"
    step.undo()
    assert programs.asked[-1] == ("systemctl", "stop")


def test_an_account_that_is_there_is_neither_made_nor_removed(tmp_path: Path) -> None:
    there = machine(tmp_path, useradd=(0, ""), userdel=(0, ""))
    assert isinstance(there.run, Programs)
    assert not ServiceAccount(there, "root", "/root").needed()
    step = ServiceAccount(there, "pumpwatch", "/var/lib/pumpwatch")
    assert step.needed() and step.describe().startswith(f"useradd --prefix {there.root} --system ")
    step.undo()
    assert there.run.asked == []
    step.do()
    step.undo()
    assert there.run.asked[-1] == ("userdel", "--prefix", str(there.root), "pumpwatch")


def test_the_newest_unpacked_copies_stay(there: TargetMachine) -> None:
    cache = there.root / "var/cache/pumpwatch"
    for age, name in enumerate(("pumpwatch.pyz_c", "pumpwatch.pyz_b", "pumpwatch.pyz_a", "something")):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (1000 - age, 1000 - age))
    step = OldCopies(there, "/var/cache/pumpwatch", 2)
    assert step.needed() and "newest 2" in step.describe()
    step.do()
    assert sorted(path.name for path in cache.iterdir()) == ["pumpwatch.pyz_b", "pumpwatch.pyz_c", "something"]
    assert not step.needed() and not OldCopies(there, "/nowhere", 2).needed()
