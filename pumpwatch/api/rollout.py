"""Routes for the roll-out of a sink: its state and its steps."""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch.api.route import ApiCall, Problem, Route

ACTIONS = ("start", "pause", "advance", "back")


class Rollout(msgspec.Struct):
    """The roll-out of a sink. state: as in `pumpwatch rollout --json`, empty if the config names no sink."""

    state: dict[str, Any]


class Switch(msgspec.Struct, forbid_unknown_fields=True):
    """The reason for a step, for the log and the report."""

    reason: str = ""


def rollout(call: ApiCall) -> Rollout:
    """Return the state, at most about a second old."""
    return Rollout(call.desk.figures().get("rollout") or {})


def switch(call: ApiCall) -> Rollout:
    """Start, pause, advance or take back, as `pumpwatch rollout ACTION` does. Raises UsageError where that is not possible."""
    action, asked = call.path["action"], call.body
    if action not in ACTIONS:
        raise Problem(404, f"the steps of a roll-out are {', '.join(ACTIONS)}")
    return Rollout(call.desk.roll_out(action, asked.reason))


ROUTES = (
    Route("/api/rollout", rollout, "The roll-out of a sink", Rollout),
    Route("/api/rollout/{action}", switch, "A step of the roll-out: start, pause, advance or back", Rollout, body=Switch,
          method="POST", errors=(404, 422), token=True),
)
