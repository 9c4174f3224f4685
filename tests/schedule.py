"""Share out the tests among the processes of pytest-xdist (`packaging/test` starts some; `pytest` alone none).

A file's tests stay together, in their order, in one process: they share what the file starts. Files of one line below stay
together as well. Those lines come first, the longest in front, so that no process is left alone with them at the end.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = (
    # these load the machine: two cores carry one of them beside the other tests
    ("tests/app/test_kill.py", "tests/app/test_full_roster.py", "tests/app/test_silence.py", "tests/app/test_bad_input.py"),
    # it waits for a whole minute
    ("tests/app/test_completeness.py",),
    # one QuestDB for all of them
    ("tests/app/test_collect.py", "tests/store/test_drain_outages.py", "tests/sinks/questdb/test_sink.py",
     "tests/sinks/questdb/test_sql.py", "tests/sinks/questdb/test_reading.py", "tests/sinks/questdb/test_http.py",
     "tests/sinks/questdb/test_verify.py", "tests/store/test_stored.py", "tests/app/test_sink_rollout.py",
     "tests/demo/test_run.py"),
    # one PostgreSQL for all of them
    tuple(f"tests/sinks/postgres/test_{name}.py" for name in ("sink", "server", "schema", "upkeep", "reading", "sql", "waiting",
                                                               "advice", "outage", "facts")),
    ("tests/accounts/test_ledger.py", "tests/accounts/test_random_commands.py", "tests/accounts/test_kill.py",
     "tests/accounts/test_database.py", "tests/accounts/test_schema.py", "tests/accounts/test_postgres_database.py"),
    # one Redis Cluster for all of them; they wait for fail-overs more than they compute
    (*(f"tests/redis/test_{name}.py" for name in ("node_watch", "subscription", "connection", "clients", "order_books", "tickers",
                                                  "market_tiers", "server_facts")), "tests/ops/test_redis_check.py"),
    # one .venv and one zipapp
    ("tests/test_readme.py", "tests/third_party_plugin/test_third_party_plugin.py", "tests/plugin_kit/test_scaffold.py",
     "tests/test_packaging_install.py"),
    # six nodes of Redis for both, which mostly wait for leases to end
    ("tests/cluster/test_redis_lost.py", "tests/cluster/test_coordinator.py"),
    # each takes long, and would be left over at the end
    ("tests/store/test_drain_losses.py",),
    ("tests/test_contract.py",),
    # the syntax trees of all files
    ("tests/test_layout.py", "tests/test_names.py"),
)


def line_of(nodeid: str) -> int:
    """Return the place in TOGETHER of the file that a test is in, past its end for one that it does not name."""
    file = nodeid.partition("::")[0]
    return next((number for number, files in enumerate(TOGETHER) if file in files), len(TOGETHER))


class ByFile(LoadScopeScheduling):
    """Shares out files and the lines of TOGETHER, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: object = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # it would put files of many small tests in front

    def _split_scope(self, nodeid: str) -> str:
        line = line_of(nodeid)
        return TOGETHER[line][0] if line < len(TOGETHER) else nodeid.partition("::")[0]
