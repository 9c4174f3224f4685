"""sqlite-utils, imported without pandas."""

from __future__ import annotations

import subprocess
import sys

SHOW = "import sys, {modules}; print('pandas' in sys.modules, 'sqlite_utils' in sys.modules)"


def modules_after(modules: str) -> str:
    return subprocess.run([sys.executable, "-c", SHOW.format(modules=modules)], check=True, capture_output=True, text=True).stdout


def test_a_collector_does_not_load_pandas_which_sqlite_utils_would_bring():
    assert modules_after("sqlite_utils") == "True True\n"
    assert modules_after("pumpwatch.app.collector") == "False True\n"


def test_pandas_can_still_be_imported_afterwards():
    assert modules_after("pumpwatch.store.sqlite_library, pandas") == "True True\n"
