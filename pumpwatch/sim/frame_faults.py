"""Faults on the trade frames of one connection: frames lost, doubled, reordered, cut in half or fragmented."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from pumpwatch.clock import Clock
from pumpwatch.sim import wire
from pumpwatch.sim.ground_truth import DOUBLED, SPOILT, UNSENT, WITHHELD, Records, TruthWriter

Groups = list[tuple[Any, Records]]  # a frame and the records it carries
COUNTED = ("drop", "double", "reorder", "spoil", "fragment")  # faults that hit a number of frames


class FrameFaults:
    """The active faults on one connection's frames. Withheld trades are written to the ground truth here."""

    def __init__(self, clock: Clock, truth: TruthWriter) -> None:
        self.silent_until = 0.0
        self.muted_until: dict[int, float] = {}  # symbol -> monotonic seconds
        self.remaining = dict.fromkeys(COUNTED, 0)  # frames that each fault has yet to hit
        self._held: Groups = []
        self._clock, self._truth = clock, truth

    @property
    def over(self) -> bool:
        """Return whether no fault is active any more."""
        return not (any(self.remaining.values()) or self._held or self.muted_until
                    or self.silent_until > self._clock.monotonic())

    def apply(self, frames: Sequence[Any], records: Records, counts: Sequence[int] | None,
              ) -> tuple[list[Any], Records, list[int]]:
        """Return the frames to send instead, their records, and the number of records of each frame.

        counts: the number of records of each given frame; None: one each. Records of withheld frames are written to the ground
        truth.
        """
        counts = [1] * len(frames) if counts is None else counts
        edges = np.cumsum(counts)[:-1]
        groups: Groups = list(zip(frames, np.split(records.copy(), edges), strict=True))
        if self.silent_until > self._clock.monotonic():
            self._write(groups, WITHHELD)
            return [], records[:0], []
        if self.muted_until:
            groups = self._without_muted(groups)
        lost = self._use_up("drop", len(groups))
        self._write(groups[:lost], WITHHELD)
        groups = groups[lost:]
        halved = self._use_up("spoil", len(groups))
        groups[:halved] = [(_halved(frame), _with_state(part, SPOILT)) for frame, part in groups[:halved]]
        cut = self._use_up("fragment", len(groups))
        groups[:cut] = [(_fragmented(frame), part) for frame, part in groups[:cut]]
        twice = self._use_up("double", len(groups))
        copies = [(frame, _with_state(part, DOUBLED)) for frame, part in groups[:twice]]
        groups = [group for pair in zip(groups, copies, strict=False) for group in pair] + groups[twice:]
        groups = self._reordered(groups)
        parts = [part for _, part in groups]
        return ([frame for frame, _ in groups], np.concatenate(parts) if parts else records[:0],
                [len(part) for part in parts])

    def release(self) -> None:
        """Write the held frames as unsent, because the connection has ended."""
        self._write(self._held, UNSENT)
        self._held = []

    def _without_muted(self, groups: Groups) -> Groups:
        now = self._clock.monotonic()
        self.muted_until = {symbol: until for symbol, until in self.muted_until.items() if until > now}
        mute = [bool(len(part)) and int(part["symbol"][0]) in self.muted_until for _, part in groups]
        self._write(list(itertools.compress(groups, mute)), WITHHELD)
        return [group for group, muted in zip(groups, mute, strict=True) if not muted]

    def _use_up(self, kind: str, available: int) -> int:
        used = min(self.remaining[kind], available)
        self.remaining[kind] -= used
        return used

    def _reordered(self, groups: Groups) -> Groups:
        """Hold frames back until enough have come, then return them in reverse order."""
        if not self.remaining["reorder"]:
            return groups
        wanted = min(self.remaining["reorder"] - len(self._held), len(groups))
        self._held += [(bytes(frame), part) for frame, part in groups[:wanted]]  # its buffer may be overwritten
        if len(self._held) < self.remaining["reorder"]:
            return []
        turned, self._held, self.remaining["reorder"] = self._held[::-1], [], 0
        return turned + groups[wanted:]

    def _write(self, groups: Groups, state: int) -> None:
        for _, part in groups:
            self._truth.add(_with_state(part, state))


def _with_state(records: Records, state: int) -> Records:
    changed = records.copy()
    changed["state"] = state
    return changed


def _payload(frame: Any) -> tuple[int, bytes]:
    """Return opcode and payload of a whole unmasked frame."""
    data = bytes(frame)
    size = {126: 2, 127: 8}.get(data[1], 0)
    return data[0] & 0x0F, data[2 + size:]


def _halved(frame: Any) -> bytes:
    opcode, payload = _payload(frame)
    half = payload[:len(payload) // 2]
    return wire.head(len(half), opcode) + half


def _fragmented(frame: Any) -> bytes:
    """Return the frame as three fragments, with an unsolicited pong before the last."""
    opcode, payload = _payload(frame)
    third = max(len(payload) // 3, 1)
    parts = [payload[:third], payload[third:2 * third], payload[2 * third:]]
    return (wire.head(len(parts[0]), opcode, final=False) + parts[0]
            + wire.head(len(parts[1]), wire.CONTINUATION, final=False) + parts[1]
            + wire.head(3, wire.PONG) + b"mid" + wire.head(len(parts[2]), wire.CONTINUATION) + parts[2])
