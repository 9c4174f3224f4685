"""Write the report of a phase: `reports/rollout_SINK_PERCENT_TIME.json` in the data folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.clock import NS_PER_MS
from pumpwatch.errors import StorageError
from pumpwatch.listing.manifest import iso
from pumpwatch.rollout.answers import PhaseAnswers
from pumpwatch.rollout.machine import EndedPhase
from pumpwatch.store.sqlite import private_folder, write_private

FOLDER, FORMAT = "reports", 1
KEPT = 100  # most reports of roll-outs
NAME = re.compile(r"rollout_.+_\d{1,3}_\d{8}T\d{6}Z\.json")
_UNSAFE = re.compile(r"[^A-Za-z0-9-]")


def figures(answers: PhaseAnswers) -> dict[str, Any]:
    """Return the figures of a phase as plain data: ms with one decimal, memory in bytes.

    `last_difference_ms` is in ms since 1970, UTC; 0 means never.
    """
    return {
        "queries": answers.queries, "failed": answers.failed,
        "error_percent": round(100 * answers.failed / answers.queries, 2) if answers.queries else 0.0,
        "not_compared": answers.late, "trades": answers.trades, "differences": dict(answers.differences),
        "last_difference": answers.last_difference, "last_difference_ms": answers.last_difference_ns // NS_PER_MS,
        "mean_ms": round(answers.mean_ms, 1), "p50_ms": round(answers.percentile_ms(0.5), 1),
        "p99_ms": round(answers.percentile_ms(0.99), 1),
        "rss_bytes": {"first": answers.rss_first_bytes, "most": answers.rss_most_bytes, "last": answers.rss_last_bytes}}


def write_report(folder: Path, sink: str, ended: EndedPhase, now_ns: int) -> Path:
    """Write the report of a phase and return its path; remove the oldest reports beyond KEPT. Raises StorageError."""
    reports = folder / FOLDER
    time_text = iso(now_ns)[:19].replace("-", "").replace(":", "")
    path = reports / f"rollout_{_UNSAFE.sub('_', sink)}_{ended.percent}_{time_text}Z.json"
    report = {"format": FORMAT, "sink": sink, "percent": ended.percent, "from_ns": ended.began_at_ns, "to_ns": now_ns,
              "ran_s": round(ended.ran_s, 1), "outcome": ended.outcome, **figures(ended.answers)}
    try:
        private_folder(reports)
        write_private(path, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        ours = sorted((old for old in reports.iterdir() if NAME.fullmatch(old.name)), key=lambda old: old.stat().st_mtime)
        for old in ours[:-KEPT]:
            old.unlink()
    except OSError as error:
        raise StorageError(f"{path}: cannot write the report of the phase: {error.strerror or error}") from error
    return path
