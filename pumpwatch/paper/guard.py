"""Keep a strategy from opening connections, starting programs, writing files, and reading files other than code.

An audit hook of Python refuses these. It stops mistakes and simple tricks. It is not a security boundary: whoever wants to break
out of Python can. Run only strategies that you would run without it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

NETWORK = ("socket.", "ssl.", "urllib.", "http.", "ftplib.", "smtplib.", "imaplib.", "poplib.", "telnetlib.")
PROGRAMS = ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "pty.")
FILES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
         "os.kill", "shutil.", "sqlite3.", "tempfile.")
LOOKS = ("gc.get_", "ctypes.", "sys._current_frames")  # ways to the engine's memory, where the rest of the tape is
CODE = (".py", ".pyc", ".so", ".pth")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install() -> None:
    """Refuse from now on, for as long as the process lives."""
    folders = tuple({os.path.realpath(folder) + os.sep for folder in (sys.prefix, sys.base_prefix)})

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            _check_open(folders, *arguments)
        elif event.startswith(NETWORK):
            raise PermissionError(f"a strategy has no network: {event}")
        elif event.startswith(PROGRAMS):
            raise PermissionError(f"a strategy starts no program: {event}")
        elif event.startswith(FILES):
            raise PermissionError(f"a strategy changes no files: {event}")
        elif event.startswith(LOOKS):
            raise PermissionError(f"a strategy looks at no memory but its own: {event}")

    sys.addaudithook(refuse)


def _check_open(folders: tuple[str, ...], path: Any, mode: Any, flags: Any) -> None:
    if (isinstance(flags, int) and flags & WRITES) or (isinstance(mode, str) and set(mode) & set("wax+")):
        raise PermissionError(f"a strategy writes no files: {path!r:.200}")
    if isinstance(path, int):
        return
    name = os.fsdecode(path)
    if not name.endswith(CODE) and not os.path.realpath(name).startswith(folders):
        raise PermissionError(f"a strategy reads no files but code: {path!r:.200}")
