"""The switch of a roll-out needs the token, and says why a step is not possible."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pumpwatch.api.desk import Desk
from pumpwatch.errors import UsageError
from tests.api.desk import FIGURES, TOKEN, client_of

HOLDER = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


class Sink:
    """A roll-out that starts once."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []

    def roll_out(self, action: str, reason: str) -> dict[str, Any]:
        if self.steps:
            raise UsageError("it has started already")
        self.steps.append((action, reason))
        return {"sink": "questdb", "status": "running", "percent": 10}


def test_the_state_can_be_read_by_everybody(desk: Desk) -> None:
    assert client_of(desk).simulate_get("/api/rollout").json == {"state": {}}
    shown = dataclasses.replace(desk, figures=lambda: {**FIGURES, "rollout": {"sink": "questdb", "percent": 10}})
    assert client_of(shown).simulate_get("/api/rollout").json == {"state": {"sink": "questdb", "percent": 10}}


def test_a_step_is_taken_by_whoever_has_the_token(desk: Desk) -> None:
    sink = Sink()
    client = client_of(dataclasses.replace(desk, roll_out=sink.roll_out))
    refused = client.simulate_post("/api/rollout/start", json={}, headers={"Content-Type": "application/json"})
    assert (refused.status_code, sink.steps) == (401, [])
    done = client.simulate_post("/api/rollout/start", json={"reason": "tested"}, headers=HOLDER)
    assert (done.status_code, done.json["state"]["percent"], sink.steps) == (200, 10, [("start", "tested")])
    again = client.simulate_post("/api/rollout/start", json={}, headers=HOLDER)
    assert (again.status_code, again.json["detail"]) == (422, "it has started already")


@pytest.mark.parametrize(("path", "body", "status"), [
    ("/api/rollout/stop", {}, 404), ("/api/rollout/start", {"why": "x"}, 400), ("/api/rollout/start", [], 400)])
def test_an_unknown_step_and_an_invalid_body_are_rejected(desk: Desk, path: str, body: Any, status: int) -> None:
    assert client_of(desk).simulate_post(path, json=body, headers=HOLDER).status_code == status
