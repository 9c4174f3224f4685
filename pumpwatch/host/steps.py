"""The steps of an installation: each can say what it would do, whether it is needed, do it, and undo what it did.

A file that is replaced or removed is kept beside its place until `settle`, so that undoing is a rename.
"""

from __future__ import annotations

import filecmp
import os
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pumpwatch.descriptors import close_now
from pumpwatch.host.machine import Machine, StepFailed, Words

NOLOGIN = "/usr/sbin/nologin"


class Step:
    """One step. `do` raises StepFailed or OSError; `undo` then follows for it as well, and takes back what was begun."""

    def describe(self) -> str:
        """Return a command that does the same, or a sentence."""
        raise NotImplementedError

    def needed(self) -> bool:
        """Return whether `do` would change anything."""
        raise NotImplementedError

    def do(self) -> None:
        """Change the machine."""
        raise NotImplementedError

    def undo(self) -> None:
        """Put back what was there before `do`; without `do`, change nothing."""

    def settle(self) -> None:
        """Drop what only `undo` needs, once every step is done."""


@dataclass
class Command(Step):
    """A program that is run, one that undoes it, and one whose output explains why it failed."""

    machine: Machine
    words: Words
    wanted: bool = True
    reverse: Words = ()
    explained_by: Words = ()
    began: bool = field(default=False, init=False)

    def describe(self) -> str:
        return shlex.join(self.words)

    def needed(self) -> bool:
        return self.wanted

    def do(self) -> None:
        self.began = True
        try:
            self.machine.must(self.words)
        except StepFailed as error:
            raise StepFailed(error.message, self.machine.last_lines(self.explained_by) or error.hint) from error

    def undo(self) -> None:
        if self.began and self.reverse:
            self.machine.must(self.reverse)


@dataclass
class Account(Step):
    """The user, and a group of the same name, that the service runs as. It cannot log in."""

    machine: Machine
    name: str
    home: str
    made: bool = field(default=False, init=False)

    def describe(self) -> str:
        return shlex.join(self._useradd())

    def _useradd(self) -> Words:
        return account_words(self.machine, "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", self.home,
                             "--shell", NOLOGIN, self.name)

    def needed(self) -> bool:
        return self.machine.number_of("passwd", self.name) is None

    def do(self) -> None:
        self.machine.must(self._useradd())
        self.made = True

    def undo(self) -> None:
        if self.made:
            remove_account(self.machine, self.name)


@dataclass
class AccountRemoval(Step):
    """A user that goes, with the group of its name. It is not undone, and belongs at the end."""

    machine: Machine
    name: str

    def describe(self) -> str:
        return shlex.join(account_words(self.machine, "userdel", self.name))

    def needed(self) -> bool:
        return self.machine.number_of("passwd", self.name) is not None

    def do(self) -> None:
        remove_account(self.machine, self.name)


def account_words(machine: Machine, program: str, *words: str) -> Words:
    """Return the words of a call of useradd, userdel or groupdel for this system."""
    return (program, *(() if machine.root == Path("/") else ("--prefix", str(machine.root))), *words)


def remove_account(machine: Machine, name: str) -> None:
    """Remove a user, and the group of its name where userdel leaves it. Raises StepFailed."""
    machine.must(account_words(machine, "userdel", name))
    if machine.number_of("group", name) is not None:
        machine.must(account_words(machine, "groupdel", name))


@dataclass(frozen=True)
class Access:
    """Who owns a file or folder, by name, and its mode."""

    owner: str
    group: str
    mode: int

    def numbers(self, machine: Machine) -> tuple[int, int]:
        """Return the numbers of owner and group; 0 for a name that is not known yet."""
        return machine.number_of("passwd", self.owner) or 0, machine.number_of("group", self.group) or 0

    def holds(self, machine: Machine, path: Path) -> bool:
        """Return whether a path has this owner, group and mode. A link has none."""
        found = path.lstat()
        return (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (*self.numbers(machine), self.mode)

    def give(self, machine: Machine, path: Path) -> None:
        """Set owner, group and mode."""
        os.chown(path, *self.numbers(machine), follow_symlinks=False)
        path.chmod(self.mode)

    def words(self) -> Words:
        """Return the options of `install`."""
        return ("-o", self.owner, "-g", self.group, "-m", f"{self.mode:o}")


@dataclass
class Folder(Step):
    """A folder with its owner and mode; one that is there keeps what is in it."""

    machine: Machine
    path: str
    access: Access
    made: list[Path] = field(default_factory=list, init=False)
    before: tuple[int, int, int] | None = field(default=None, init=False)

    def describe(self) -> str:
        return shlex.join(("install", "-d", *self.access.words(), self.path))

    def needed(self) -> bool:
        there = self.machine.inside(self.path)
        return not there.is_dir() or not self.access.holds(self.machine, there)

    def do(self) -> None:
        there = self.machine.inside(self.path)
        for folder in reversed([folder for folder in (there, *there.parents) if not folder.exists()]):
            folder.mkdir(mode=0o755)
            self.made.append(folder)
        if not self.made:
            found = there.stat()
            self.before = found.st_uid, found.st_gid, found.st_mode & 0o7777
        self.access.give(self.machine, there)

    def undo(self) -> None:
        there = self.machine.inside(self.path)
        if self.before:
            os.chown(there, *self.before[:2])
            there.chmod(self.before[2])
        for folder in reversed(self.made):
            with suppress(OSError):  # something else has used it meanwhile
                folder.rmdir()


def aside(path: Path, mark: str) -> Path:
    """Return the name beside a path under which it waits for the end of the installation."""
    return path.with_name(f".{path.name}.{mark}")


@dataclass
class PlacedFile(Step):
    """A file with this content, from a file or from text, swapped in at once.

    keep: one that is there stays as it is. afterwards: a program that is run after each change, also after that of `undo`.
    """

    machine: Machine
    path: str
    content: Path | str
    access: Access
    keep: bool = False
    afterwards: Words = ()
    placed: bool = field(default=False, init=False)
    moved: bool = field(default=False, init=False)

    def describe(self) -> str:
        if isinstance(self.content, Path):
            words = shlex.join(("install", *self.access.words(), str(self.content), self.path))
        else:
            words = f"write {self.path} (owner {self.access.owner}, group {self.access.group}, mode {self.access.mode:04o})"
        return words + (f", then {shlex.join(self.afterwards)}" if self.afterwards else "")

    def needed(self) -> bool:
        there = self.machine.inside(self.path)
        if there.is_symlink() or not there.is_file():
            return not (self.keep and there.is_symlink())  # a config may be a link to where its owner keeps it
        if self.keep:
            return False
        if isinstance(self.content, Path):
            same = filecmp.cmp(self.content, there, shallow=False)
        else:
            same = there.read_text("utf-8", "replace") == self.content
        return not same or not self.access.holds(self.machine, there)

    def do(self) -> None:
        there = self.machine.inside(self.path)
        new, old = aside(there, "new"), aside(there, "before")
        new.unlink(missing_ok=True)
        if isinstance(self.content, Path):
            shutil.copyfile(self.content, new)
        else:
            new.write_text(self.content, "utf-8")
        self.access.give(self.machine, new)
        _sync(new)
        if there.exists() or there.is_symlink():
            old.unlink(missing_ok=True)
            os.link(there, old, follow_symlinks=False)
            self.moved = True
        new.replace(there)
        self.placed = True
        if self.afterwards:
            self.machine.must(self.afterwards)

    def undo(self) -> None:
        there = self.machine.inside(self.path)
        aside(there, "new").unlink(missing_ok=True)
        if self.moved:
            aside(there, "before").replace(there)
        elif self.placed:
            there.unlink(missing_ok=True)
        if self.placed and self.afterwards:
            self.machine.must(self.afterwards)

    def settle(self) -> None:
        aside(self.machine.inside(self.path), "before").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        close_now(handle)


@dataclass
class Removal(Step):
    """A file or a folder that goes, with all that is in it."""

    machine: Machine
    path: str
    afterwards: Words = ()
    moved: bool = field(default=False, init=False)
    mounted: bool = field(default=False, init=False)

    def describe(self) -> str:
        return shlex.join(("rm", "-rf", self.path)) + (f", then {shlex.join(self.afterwards)}" if self.afterwards else "")

    def needed(self) -> bool:
        there = self.machine.inside(self.path)
        return there.exists() or there.is_symlink()

    def do(self) -> None:
        there = self.machine.inside(self.path)
        self.mounted = os.path.ismount(there)  # it cannot be renamed, and is emptied at the end
        if not self.mounted:
            if os.path.lexists(aside(there, "removed")):  # of a removal that was killed
                remove(aside(there, "removed"))
            there.rename(aside(there, "removed"))
            self.moved = True
        if self.afterwards:
            self.machine.must(self.afterwards)

    def undo(self) -> None:
        if self.moved:
            there = self.machine.inside(self.path)
            aside(there, "removed").rename(there)
            if self.afterwards:
                self.machine.must(self.afterwards)

    def settle(self) -> None:
        there = self.machine.inside(self.path)
        if self.mounted or self.moved:
            remove(there if self.mounted else aside(there, "removed"))


@dataclass
class OldCopies(Step):
    """Unpacked zipapps of earlier versions, but for the newest `kept`: a command that still runs may use the last one."""

    machine: Machine
    path: str
    kept: int

    def describe(self) -> str:
        return f"remove the unpacked copies of earlier versions in {self.path}, but for the newest {self.kept}"

    def _old(self) -> list[Path]:
        folder = self.machine.inside(self.path)
        copies = [path for path in folder.glob("pumpwatch.pyz_*") if path.is_dir() and not path.is_symlink()]
        return sorted(copies, key=lambda path: path.stat().st_mtime)[:-self.kept]

    def needed(self) -> bool:
        return bool(self._old())

    def do(self) -> None:
        for copy in self._old():
            remove(copy)


def remove(path: Path) -> None:
    """Remove a file or a folder; of one that is mounted, everything in it. Links are not followed."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    elif os.path.ismount(path):
        for entry in path.iterdir():
            remove(entry)
    else:
        shutil.rmtree(path)
