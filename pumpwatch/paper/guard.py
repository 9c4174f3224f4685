"""Keep a strategy from opening connections, starting programs, writing files, and reading files other than code.

A Python audit hook raises PermissionError for these. It stops mistakes and simple tricks, but it is not a security boundary:
deliberate code can break out of Python. Run only strategies that you would run without it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

NETWORK = ("socket.", "ssl.", "urllib.", "http.", "ftplib.", "smtplib.", "imaplib.", "poplib.", "telnetlib.")
PROGRAMS = ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "pty.")
FILES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
         "os.kill", "shutil.", "sqlite3.", "tempfile.")
LOOKS = ("gc.get_", "ctypes.", "sys._current_frames")  # these give access to the engine's memory, which has the whole tape
CODE = (".py", ".pyc", ".so", ".pth")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install() -> None:
    """Install the audit hook, for the lifetime of the process."""
    folders = tuple({os.path.realpath(folder) + os.sep for folder in (sys.prefix, sys.base_prefix)})

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            _check_open(folders, *arguments)
        elif event.startswith(NETWORK):
            raise PermissionError(f"a strategy must not use the network: {event}")
        elif event.startswith(PROGRAMS):
            raise PermissionError(f"a strategy must not start programs: {event}")
        elif event.startswith(FILES):
            raise PermissionError(f"a strategy must not change files: {event}")
        elif event.startswith(LOOKS):
            raise PermissionError(f"a strategy must not inspect other memory: {event}")

    sys.addaudithook(refuse)


def _check_open(folders: tuple[str, ...], path: Any, mode: Any, flags: Any) -> None:
    if (isinstance(flags, int) and flags & WRITES) or (isinstance(mode, str) and set(mode) & set("wax+")):
        raise PermissionError(f"a strategy must not write files: {path!r:.200}")
    if isinstance(path, int):
        return
    name = os.fsdecode(path)
    if not name.endswith(CODE) and not os.path.realpath(name).startswith(folders):
        raise PermissionError(f"a strategy must not read files other than code: {path!r:.200}")
