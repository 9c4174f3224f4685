"""One row of a check's result, the same for `check`, `doctor`, the judgement of the log and `plugins check`."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "fail"
NOTE = "note"  # a settled problem; nothing is left to do
UNREACHABLE = "unreachable"  # a service did not answer


@dataclass(frozen=True, slots=True)
class Finding:
    """One row. name: the subject. state: one of the constants above. hint: what to do. ms: the answer time of a service."""

    name: str
    state: str
    detail: str
    hint: str = ""
    ms: float | None = None
