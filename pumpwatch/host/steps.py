"""The steps of an installation: each can describe itself, tell whether it is needed, be done, and be undone.

A replaced or removed file is kept next to its place until `finish`, so that undoing is a rename.
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
from pumpwatch.host.machine import StepFailed, TargetMachine, Words

NOLOGIN = "/usr/sbin/nologin"


class HostStep:
    """One step. `do` raises StepFailed or OSError; `undo` then follows for this step as well, and reverts what was begun."""

    def describe(self) -> str:
        """Return an equivalent command, or a sentence."""
        raise NotImplementedError

    def needed(self) -> bool:
        """Return whether `do` would change anything."""
        raise NotImplementedError

    def do(self) -> None:
        """Change the machine."""
        raise NotImplementedError

    def undo(self) -> None:
        """Restore the state before `do`; without `do`, change nothing."""

    def finish(self) -> None:
        """Remove what only `undo` needs, once every step is done."""


@dataclass
class Command(HostStep):
    """A program to run, a program that undoes it, and a program whose output explains a failure."""

    machine: TargetMachine
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
            self.machine.run_or_fail(self.words)
        except StepFailed as error:
            raise StepFailed(error.message, self.machine.last_lines(self.explained_by) or error.hint) from error

    def undo(self) -> None:
        if self.began and self.reverse:
            self.machine.run_or_fail(self.reverse)


@dataclass
class ServiceAccount(HostStep):
    """The service's user, who cannot log in, and the group of the same name."""

    machine: TargetMachine
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
        self.machine.run_or_fail(self._useradd())
        self.made = True

    def undo(self) -> None:
        if self.made:
            remove_account(self.machine, self.name)


@dataclass
class AccountRemoval(HostStep):
    """The removal of a user and the group of the same name. It cannot be undone, so it is the last step."""

    machine: TargetMachine
    name: str

    def describe(self) -> str:
        return shlex.join(account_words(self.machine, "userdel", self.name))

    def needed(self) -> bool:
        return self.machine.number_of("passwd", self.name) is not None

    def do(self) -> None:
        remove_account(self.machine, self.name)


def account_words(machine: TargetMachine, program: str, *words: str) -> Words:
    """Return the words of a call of useradd, userdel or groupdel for this system."""
    return (program, *(() if machine.root == Path("/") else ("--prefix", str(machine.root))), *words)


def remove_account(machine: TargetMachine, name: str) -> None:
    """Remove a user, and the group of the same name if userdel leaves it. Raises StepFailed."""
    machine.run_or_fail(account_words(machine, "userdel", name))
    if machine.number_of("group", name) is not None:
        machine.run_or_fail(account_words(machine, "groupdel", name))


@dataclass(frozen=True)
class FileAccess:
    """The owner and group of a file or folder, by name, and its mode."""

    owner: str
    group: str
    mode: int

    def numbers(self, machine: TargetMachine) -> tuple[int, int]:
        """Return the numbers of owner and group; 0 for a name that is not known yet."""
        return machine.number_of("passwd", self.owner) or 0, machine.number_of("group", self.group) or 0

    def holds(self, machine: TargetMachine, path: Path) -> bool:
        """Return whether a path, not followed if it is a link, has this owner, group and mode."""
        found = path.lstat()
        return (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (*self.numbers(machine), self.mode)

    def apply(self, machine: TargetMachine, path: Path) -> None:
        """Set owner, group and mode."""
        os.chown(path, *self.numbers(machine), follow_symlinks=False)
        path.chmod(self.mode)

    def words(self) -> Words:
        """Return the options of `install`."""
        return ("-o", self.owner, "-g", self.group, "-m", f"{self.mode:o}")


@dataclass
class OwnedFolder(HostStep):
    """A folder with its owner and mode; an existing folder keeps its content."""

    machine: TargetMachine
    path: str
    access: FileAccess
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
        self.access.apply(self.machine, there)

    def undo(self) -> None:
        there = self.machine.inside(self.path)
        if self.before:
            os.chown(there, *self.before[:2])
            there.chmod(self.before[2])
        for folder in reversed(self.made):
            with suppress(OSError):  # another program uses it meanwhile
                folder.rmdir()


def aside(path: Path, mark: str) -> Path:
    """Return the name next to a path under which it is kept until the end of the installation."""
    return path.with_name(f".{path.name}.{mark}")


@dataclass
class PlacedFile(HostStep):
    """A file with this content, copied from a file or a text, and put in place in one step.

    keep: an existing file stays as it is. afterwards: a program to run after each change, including that of `undo`.
    """

    machine: TargetMachine
    path: str
    content: Path | str
    access: FileAccess
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
            return not (self.keep and there.is_symlink())  # a config may be a link to its owner's file
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
        self.access.apply(self.machine, new)
        _sync(new)
        if there.exists() or there.is_symlink():
            old.unlink(missing_ok=True)
            os.link(there, old, follow_symlinks=False)
            self.moved = True
        new.replace(there)
        self.placed = True
        if self.afterwards:
            self.machine.run_or_fail(self.afterwards)

    def undo(self) -> None:
        there = self.machine.inside(self.path)
        aside(there, "new").unlink(missing_ok=True)
        if self.moved:
            aside(there, "before").replace(there)
        elif self.placed:
            there.unlink(missing_ok=True)
        if self.placed and self.afterwards:
            self.machine.run_or_fail(self.afterwards)

    def finish(self) -> None:
        aside(self.machine.inside(self.path), "before").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        close_now(handle)


@dataclass
class Removal(HostStep):
    """The removal of a file, or of a folder with its content."""

    machine: TargetMachine
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
            self.machine.run_or_fail(self.afterwards)

    def undo(self) -> None:
        if self.moved:
            there = self.machine.inside(self.path)
            aside(there, "removed").rename(there)
            if self.afterwards:
                self.machine.run_or_fail(self.afterwards)

    def finish(self) -> None:
        there = self.machine.inside(self.path)
        if self.mounted or self.moved:
            remove(there if self.mounted else aside(there, "removed"))


@dataclass
class OldCopies(HostStep):
    """The removal of unpacked zipapps, except the newest `kept`: a running command may still use the last one."""

    machine: TargetMachine
    path: str
    kept: int

    def describe(self) -> str:
        return f"remove the unpacked copies of earlier versions in {self.path}, except the newest {self.kept}"

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
    """Remove a file or a folder; of a mount point, only its content. Links are not followed."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    elif os.path.ismount(path):
        for entry in path.iterdir():
            remove(entry)
    else:
        shutil.rmtree(path)
