"""The mark of a plugin's functions costs next to nothing to import."""

from __future__ import annotations

import subprocess
import sys


def test_a_plugin_s_mark_and_its_strategy_import_no_gevent() -> None:
    code = ("import sys\nfrom pumpwatch import Strategy, StrategyPlugin, hookimpl\n"
            "assert hookimpl.project_name == 'pumpwatch'\nprint('gevent' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
