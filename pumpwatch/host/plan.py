"""The steps that install the service, and the steps that remove it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pumpwatch.errors import UsageError
from pumpwatch.host.machine import UNIT, TargetMachine
from pumpwatch.host.steps import (
    AccountRemoval,
    Command,
    FileAccess,
    HostStep,
    OldCopies,
    OwnedFolder,
    PlacedFile,
    Removal,
    ServiceAccount,
)

PROGRAM_DIR, LAUNCHER = "/opt/pumpwatch", "/usr/local/bin/pumpwatch"
PROGRAM = f"{PROGRAM_DIR}/pumpwatch.pyz"
CONFIG_DIR, STATE_DIR, LOG_DIR, CACHE_DIR = "/etc/pumpwatch", "/var/lib/pumpwatch", "/var/log/pumpwatch", "/var/cache/pumpwatch"
CONFIG, SAMPLE = f"{CONFIG_DIR}/pumpwatch.yaml", f"{CONFIG_DIR}/pumpwatch.yaml.sample"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
JOURNAL = ("journalctl", "--unit", UNIT, "--lines", "5", "--output", "cat", "--no-pager")
DROP_INS = f"{UNIT_FILE}.d"
UNPACKED_KEPT = 2  # of this version, and of the one before
ACCOUNT_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")  # as useradd(8) has it


@dataclass(frozen=True)
class Wish:
    """The options of an installation: the zipapp, the Python that runs it, the service's user, and whether to start it."""

    program: Path
    python: str
    user: str = "pumpwatch"
    start: bool = True

    def check(self) -> None:
        """Raise UsageError if the service could not run the program."""
        if not ACCOUNT_NAME.fullmatch(self.user):
            raise UsageError(f"--user: {self.user!r} is not a name for a system user",
                             "use lower-case letters, digits, - and _, as in pumpwatch")
        if self.user == "root":
            raise UsageError("--user: the service does not run as root", "choose a dedicated user, such as pumpwatch")
        if self.python.startswith(("/home/", "/root/", "/run/user/")):
            raise UsageError(f"{self.python} is in a home folder, which the service cannot read",
                             "run the zipapp with the system's Python, as in: sudo /usr/bin/python3 pumpwatch.pyz install")


def text_of(name: str) -> str:
    """Return a file of pumpwatch/host/files."""
    return resources.files("pumpwatch.host").joinpath("files", name).read_text("utf-8")


def unit_text(user: str) -> str:
    """Return the unit of the service for a user, whose group has the same name."""
    return re.sub(r"^(User|Group)=.*$", rf"\1={user}", text_of(UNIT), flags=re.MULTILINE)


def launcher_text(python: str) -> str:
    """Return the script that starts the installed zipapp with the Python that installed it.

    The service's user unpacks it to the service's folder. No other user, least of all root, runs code that this user may change.
    """
    return (f"#!/bin/sh\n# written by `pumpwatch install`\n[ ! -O {CACHE_DIR} ] || export SHIV_ROOT={CACHE_DIR}\n"
            f'exec {shlex.quote(python)} {PROGRAM} "$@"\n')


def installation(machine: TargetMachine, wish: Wish) -> list[HostStep]:
    """Return the steps that bring a machine to a running service of this version, from any earlier state.

    A running service is replaced without a missed trade, and only if program, launcher or unit have changed.
    """
    roots, group = FileAccess("root", "root", 0o755), wish.user
    readable, own = FileAccess("root", group, 0o640), FileAccess(wish.user, group, 0o750)
    reread = ("systemctl", "daemon-reload") if machine.is_running else ()
    program: list[HostStep] = [
        PlacedFile(machine, PROGRAM, wish.program, roots),
        PlacedFile(machine, LAUNCHER, launcher_text(wish.python), roots),
        PlacedFile(machine, UNIT_FILE, unit_text(wish.user), FileAccess("root", "root", 0o644), afterwards=reread),
    ]
    steps: list[HostStep] = [
        ServiceAccount(machine, wish.user, STATE_DIR),
        OwnedFolder(machine, PROGRAM_DIR, roots),
        *(OwnedFolder(machine, str(Path(path).parent), roots) for path in (LAUNCHER, UNIT_FILE)
          if not machine.inside(path).parent.is_dir()),
        OwnedFolder(machine, CONFIG_DIR, FileAccess("root", group, 0o750)),
        *(OwnedFolder(machine, path, own) for path in (STATE_DIR, CACHE_DIR, LOG_DIR)),
        PlacedFile(machine, CONFIG, text_of("pumpwatch.yaml"), readable, keep=True),
        PlacedFile(machine, SAMPLE, text_of("sample.yaml"), readable),
        *program,
    ]
    is_enabled = machine.succeeds(machine.systemctl("is-enabled", "--quiet", UNIT))
    steps.append(Command(machine, machine.systemctl("enable", UNIT), not is_enabled, machine.systemctl("disable", UNIT)))
    if wish.start and machine.root == Path("/"):
        if machine.serves():
            steps.append(Command(machine, ("systemctl", "reload", UNIT), any(step.needed() for step in program), (), JOURNAL))
        else:
            steps.append(Command(machine, ("systemctl", "start", UNIT), True, ("systemctl", "stop", UNIT), JOURNAL))
        steps.append(OldCopies(machine, CACHE_DIR, UNPACKED_KEPT))
    return steps


def removal(machine: TargetMachine) -> list[HostStep]:
    """Return the steps that stop and remove the service and its program; config, data and user stay."""
    reread = ("systemctl", "daemon-reload") if machine.is_running else ()
    enabled = machine.succeeds(machine.systemctl("is-enabled", "--quiet", UNIT))
    return [
        Command(machine, ("systemctl", "stop", UNIT), machine.serves(), ("systemctl", "start", UNIT)),
        Command(machine, machine.systemctl("disable", UNIT), enabled, machine.systemctl("enable", UNIT)),
        Removal(machine, UNIT_FILE, reread),
        Removal(machine, LAUNCHER),
        Removal(machine, PROGRAM_DIR),
        Removal(machine, CACHE_DIR),
    ]


def purge(machine: TargetMachine, user: str) -> list[HostStep]:
    """Return the steps that remove everything that `removal` keeps: config, data, logs, changes of the unit, and the user."""
    return [*(Removal(machine, path) for path in (CONFIG_DIR, STATE_DIR, LOG_DIR, DROP_INS)), AccountRemoval(machine, user)]


def installed_user(machine: TargetMachine) -> str:
    """Return the user of the installed unit; pumpwatch without a unit."""
    unit = machine.inside(UNIT_FILE)
    found = re.search(r"^User=(\S+)$", unit.read_text("utf-8", "replace"), re.MULTILINE) if unit.is_file() else None
    return found[1] if found else "pumpwatch"


def kept(machine: TargetMachine) -> list[str]:
    """Return the folders with content that `removal` keeps."""
    return [path for path in (CONFIG_DIR, STATE_DIR, LOG_DIR, DROP_INS)
            if machine.inside(path).is_dir() and any(machine.inside(path).iterdir())]
