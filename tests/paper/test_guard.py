"""What a strategy may not do is refused, and what it needs works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TRY = """
import json, sys
from pumpwatch.paper import guard
import gc, os, socket, sqlite3, subprocess
guard.install()
said = {}
for name, attempt in {
    "socket": lambda: socket.socket(),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "name": lambda: socket.getaddrinfo("localhost", 80),
    "program": lambda: subprocess.run(["true"]),
    "shell": lambda: os.system("true"),
    "fork": lambda: os.fork(),
    "write": lambda: open("/tmp/never-written", "w"),
    "flags": lambda: os.open("/tmp/never-written", os.O_CREAT),
    "read": lambda: open("/etc/hostname"),
    "archive": lambda: open(sys.argv[1]),
    "database": lambda: sqlite3.connect(":memory:"),
    "remove": lambda: os.remove(sys.argv[1]),
    "memory": lambda: gc.get_objects(),
    "import": lambda: __import__("colorsys"),
}.items():
    try:
        attempt()
        said[name] = "fine"
    except PermissionError as error:
        said[name] = str(error).partition(":")[0]
print(json.dumps(said))
"""


def test_a_strategy_has_no_network_no_programs_and_no_files(tmp_path: Path) -> None:
    kept = tmp_path / "raw.json"
    kept.write_text("{}")
    ended = subprocess.run([sys.executable, "-c", TRY, str(kept)], capture_output=True, text=True, check=True)
    no_network, no_program = "a strategy must not use the network", "a strategy must not start programs"
    assert json.loads(ended.stdout) == {
        "socket": no_network, "connect": no_network, "name": no_network, "program": no_program, "shell": no_program,
        "fork": no_program, "write": "a strategy must not write files", "flags": "a strategy must not write files",
        "read": "a strategy must not read files other than code", "archive": "a strategy must not read files other than code",
        "database": "a strategy must not change files", "remove": "a strategy must not change files",
        "memory": "a strategy must not inspect other memory", "import": "fine"}
    assert kept.is_file()
