"""A finding is one row; every check has the same states."""

from __future__ import annotations

from pumpwatch import findings
from pumpwatch.findings import Finding
from pumpwatch.ops import judgement, preflight
from pumpwatch.plugin_kit import results


def test_a_finding_needs_a_subject_a_state_and_a_detail() -> None:
    found = Finding("disk", findings.WARN, "2 GB are free")
    assert (found.hint, found.ms) == ("", None) and found == Finding("disk", "warn", "2 GB are free")


def test_checks_of_collectors_and_of_plugins_share_their_states() -> None:
    for module in (judgement, preflight, results):
        assert {module.OK, module.WARN, module.FAIL} == {"ok", "warn", "fail"}
    assert {type(found) for found in judgement.judge({"sinks": [{"name": "a", "state": "down"}]})} == {Finding}
