"""The API shows the cluster that the collector belongs to."""

from __future__ import annotations

import dataclasses

from pumpwatch.api.desk import Desk
from tests.api.desk import FIGURES, client_of


def test_without_a_cluster_it_has_no_name(desk: Desk) -> None:
    found = client_of(desk).simulate_get("/api/cluster").json
    assert (found["name"], found["members"], found["shards"]) == ("", [], [])


def test_members_and_shards_are_those_of_the_last_beat(desk: Desk) -> None:
    state = {"name": "tokyo", "member": "a", "state": "in", "roles": ["leader"], "held": 3, "read": 4, "last_answer_s": 0.4,
             "fenced_writes": 0, "members": [{"member": "a"}], "shards": [{"venue": "one.spot", "member": "a"}]}
    shown = dataclasses.replace(desk, figures=lambda: {**FIGURES, "cluster": state})
    found = client_of(shown).simulate_get("/api/cluster").json
    assert found == {key: value for key, value in state.items() if key not in ("read", "fenced_writes")}
