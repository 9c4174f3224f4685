"""The list of the simulator's faults is true to the code."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict

import msgspec

from pumpwatch.commands.fault_table import FAULTS, fault_rows, faults_json
from pumpwatch.commands.table import render
from pumpwatch.sim.faults import FORMS_OF, KINDS
from pumpwatch.sim.options import FaultOptions
from tests.commands.rendered import check_lines


def test_every_kind_names_the_keys_that_its_code_reads() -> None:
    named: dict[object, set[str]] = defaultdict(set)
    for kind in KINDS.values():
        named[kind.run] |= set(kind.keys)
    for run, keys in named.items():
        assert keys == set(re.findall(r"fault\.(\w+)", inspect.getsource(run))) - {"kind"}, run  # type: ignore[arg-type]
    everywhere = {"kind", "venue", "connection", "connections", "at_s"}
    assert set().union(*named.values()) == {field.name for field in msgspec.structs.fields(FaultOptions)} - everywhere
    assert {name for name, kind in KINDS.items() if "form" in kind.keys} == set(FORMS_OF)


def test_a_fault_that_hits_connections_can_be_told_which() -> None:
    rows = {row["kind"]: row for row in faults_json()}
    assert rows["cut"]["keys"] == ["venue", "connection", "connections"] and rows["cut"]["hits"] == "connections"
    assert rows["ban"]["keys"] == ["venue", "seconds"] and rows["ban"]["hits"] == "requests"
    assert rows["history"]["forms"][0] == "hole"


def test_the_table_has_each_kind_with_its_keys_and_defaults() -> None:
    text = check_lines(render(FAULTS, fault_rows(), 80), 80)
    assert all(re.search(rf"^{kind} ", text, re.MULTILINE) for kind in KINDS)
    joined = " ".join(text.split())
    assert "close connections code (1008), reason (Too many requests) The venue closes the connection with this code" in joined
    assert "form: hole, repeat, back, other, none, conflict, future" in joined
