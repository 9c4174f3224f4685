"""Faults, by schedule or by command: what goes wrong between an exchange and its clients, on purpose.

kind            what happens to the connections chosen (`venue`, `connection`, `connections`)
cut             the TCP connection is reset
fin             it ends without a WebSocket close
close           closed with `code` and `reason` (1008 "Too many requests" by default)
slow_close      closed, but the venue answers nothing and keeps TCP open for `seconds`
silence         open and answering pings, but no trades for `seconds`: they are lost to it
mute            one `symbol` is subscribed, and its trades are lost to the connection for `seconds`
freeze          neither reads nor sends for `seconds`, as if the network had died; then everything comes at once
deaf            pings and closes of the client get no answer for `seconds`
drop            the next `count` trade frames are lost
double          the next `count` trade frames come twice
reorder         the next `count` trade frames come in reverse order
spoil           the next `count` trade frames are cut in half inside their WebSocket frame
fragment        the next `count` trade frames come as WebSocket fragments, with a pong nobody asked for in between
malformed       `count` frames that are no trades come on top; `form` names one of MALFORMED, else they take turns; or `frames`
ping            `count` pings come at once
maintenance     the venue announces its shutdown, and closes with 1001 after `seconds`
refuse          handshakes get HTTP `status` for `seconds`
down            who connects is cut off at once, for `seconds`
hang            who connects gets no answer, not even to TLS, for `seconds`
rest            REST requests get HTTP `status` for `seconds`, or with `form` an answer that is none, or (`without`) a list that
                lacks `symbol`: see sim.rest_faults
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gevent
import numpy as np

from pumpwatch.errors import UsageError
from pumpwatch.sim import wire
from pumpwatch.sim.client_connection import ClientConnection
from pumpwatch.sim.ground_truth import DOUBLED, SPOILT, UNSENT, WITHHELD, Records
from pumpwatch.sim.options import FaultOptions
from pumpwatch.sim.rest_faults import FORMS
from pumpwatch.sim.venue import SimVenue

if TYPE_CHECKING:
    from pumpwatch.sim.server import Simulation

MALFORMED: dict[str, tuple[bytes, int]] = {
    "truncated": (b'{"e":"trade","E":17231612', wire.TEXT),
    "garbage": (b"<html>502 Bad Gateway</html>", wire.TEXT),
    "unknown": (b'{"e":"mystery","E":1723161255343,"s":"BTCUSDT"}', wire.TEXT),
    "types": (b'{"e":"trade","E":"now","s":7,"t":"x","p":{},"q":[],"T":null,"m":"maybe"}', wire.TEXT),
    "empty": (b"", wire.TEXT),
    "array": (b"[1,2,3]", wire.TEXT),
    "utf8": (b'{"e":"trade","s":"\xff\xfe\xc3\x28"}', wire.TEXT),
    "binary": (bytes(range(256)), wire.BINARY),
    "deep": (b"[" * 2000 + b"]" * 2000, wire.TEXT),
}
Groups = list[tuple[Any, Records]]  # a frame and the records it carries


class Bender:
    """Faults at work on the trade frames of one connection."""

    def __init__(self) -> None:
        self.silent_until = 0.0
        self.muted: dict[int, float] = {}  # symbol -> until when
        self.left = {"drop": 0, "double": 0, "reorder": 0, "spoil": 0, "fragment": 0}
        self._held: Groups = []

    def bend(self, link: ClientConnection, frames: Sequence[Any], records: Records, counts: Sequence[int] | None,
             ) -> tuple[list[Any], Records, list[int]]:
        """Return what to send instead, and account for what is withheld."""
        counts = [1] * len(frames) if counts is None else counts
        edges = np.cumsum(counts)[:-1]
        groups: Groups = list(zip(frames, np.split(records.copy(), edges), strict=True))
        if self.silent_until > link.clock.monotonic():
            self._settle(link, groups, WITHHELD)
            return [], records[:0], []
        if self.muted:
            groups = self._mute(link, groups)
        lost = self._take("drop", len(groups))
        self._settle(link, groups[:lost], WITHHELD)
        groups = groups[lost:]
        spoilt = self._take("spoil", len(groups))
        groups[:spoilt] = [(_halved(frame), _marked(part, SPOILT)) for frame, part in groups[:spoilt]]
        cut = self._take("fragment", len(groups))
        groups[:cut] = [(_fragmented(frame), part) for frame, part in groups[:cut]]
        twice = self._take("double", len(groups))
        again = [(frame, _marked(part, DOUBLED)) for frame, part in groups[:twice]]
        groups = [one for pair in zip(groups, again, strict=False) for one in pair] + groups[twice:]
        groups = self._reorder(groups)
        if not any(self.left.values()) and not self._held and not self.muted:
            link.bender = None
        parts = [part for _, part in groups]
        return ([frame for frame, _ in groups], np.concatenate(parts) if parts else records[:0],
                [len(part) for part in parts])

    def release(self, link: ClientConnection) -> None:
        """Account for frames that are still held when the connection goes."""
        self._settle(link, self._held, UNSENT)
        self._held = []

    def _mute(self, link: ClientConnection, groups: Groups) -> Groups:
        now = link.clock.monotonic()
        self.muted = {symbol: until for symbol, until in self.muted.items() if until > now}
        mute = [bool(len(part)) and int(part["symbol"][0]) in self.muted for _, part in groups]
        self._settle(link, list(itertools.compress(groups, mute)), WITHHELD)
        return [group for group, silent in zip(groups, mute, strict=True) if not silent]

    def _take(self, kind: str, available: int) -> int:
        taken = min(self.left[kind], available)
        self.left[kind] -= taken
        return taken

    def _reorder(self, groups: Groups) -> Groups:
        if not self.left["reorder"]:
            return groups
        taken = min(self.left["reorder"] - len(self._held), len(groups))
        self._held += [(bytes(frame), part) for frame, part in groups[:taken]]  # its buffer may be written anew
        if len(self._held) < self.left["reorder"]:
            return []
        turned, self._held, self.left["reorder"] = self._held[::-1], [], 0
        return turned + groups[taken:]

    def _settle(self, link: ClientConnection, groups: Groups, state: int) -> None:
        for _, part in groups:
            link.venue.truth.add(_marked(part, state))


def cause(simulation: Simulation, fault: FaultOptions) -> dict[str, Any]:
    """Let a fault happen now; return what it hit. Raises UsageError for an unknown kind or place."""
    if fault.kind not in KINDS:
        raise UsageError(f"no fault `{fault.kind}`", f"known: {', '.join(KINDS)}")
    if fault.venue and fault.venue not in simulation.venues:
        raise UsageError(f"no venue `{fault.venue}`", f"known: {', '.join(simulation.venues)}")
    forms = FORMS if fault.kind == "rest" else MALFORMED
    if fault.form and fault.form not in forms:
        raise UsageError(f"no malformed {'answer' if fault.kind == 'rest' else 'frame'} `{fault.form}`",
                         f"known: {', '.join(forms)}")
    venues = [venue for name, venue in simulation.venues.items() if fault.venue in ("", name)]
    if fault.kind == "mute" and not any(fault.symbol in venue.table.index for venue in venues):
        raise UsageError(f"no symbol `{fault.symbol}` to mute", "`symbol` is in the venue's own spelling")
    links = [link for venue in venues for link in venue.links.values() if fault.connection in (0, link.number)]
    links = links[:fault.connections or None]
    simulation.truth.event("fault", fault=fault.kind, venues=[venue.name for venue in venues], seconds=fault.seconds,
                           count=fault.count, connections=[link.number for link in links])
    KINDS[fault.kind](venues, links, fault)
    return {"fault": fault.kind, "connections": [link.number for link in links]}


def _cut(_: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    for link in links:
        link.drop(f"fault: {fault.kind}", abort=fault.kind == "cut")


def _close(_: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    for link in links:
        link.deaf = link.deaf or fault.kind == "slow_close"
        link.close(fault.code, fault.reason, fault.seconds if fault.kind == "slow_close" else 0.0)


def _silence(_: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    for link in links:
        _bender(link).silent_until = link.clock.monotonic() + fault.seconds


def _mute(venues: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    for link in links:
        symbol = link.venue.table.index.get(fault.symbol)
        if symbol is not None:
            _bender(link).muted[symbol] = link.clock.monotonic() + fault.seconds


def _freeze(_: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    for link in links:
        link.stream.freeze()
        gevent.spawn_later(fault.seconds, link.stream.thaw)


def _deaf(_: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    for link in links:
        link.deaf = True
        gevent.spawn_later(fault.seconds, setattr, link, "deaf", False)


def _bend(_: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    for link in links:
        _bender(link).left[fault.kind] += fault.count


def _malformed(_: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    given = [(text.encode(), wire.TEXT) for text in fault.frames]
    turns = itertools.cycle(given or ([MALFORMED[fault.form]] if fault.form else MALFORMED.values()))
    for link in links:
        for payload, opcode in itertools.islice(turns, len(given) or fault.count):
            link.raw(wire.head(len(payload), opcode) + payload)


def _ping(_: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    for link in links:
        for _number in range(fault.count):
            link.ping()


def _maintenance(venues: list[SimVenue], links: list[ClientConnection], fault: FaultOptions) -> None:
    for link in links:
        event = link.venue.dialect.maintenance(link.session.form, link.clock.now_ns())
        if event is not None:
            link.raw(wire.head(len(event), link.venue.dialect.opcode(link.session.form)) + event)
    for link in links:
        gevent.spawn_later(fault.seconds, link.close, 1001, "going away")


def _refuse(venues: list[SimVenue], _: list[ClientConnection], fault: FaultOptions) -> None:
    for venue in venues:
        venue.trouble.refuse_until = venue.clock.monotonic() + fault.seconds
        venue.trouble.refuse_status = fault.status
        venue.trouble.refusal = fault.kind


def _rest(venues: list[SimVenue], _: list[ClientConnection], fault: FaultOptions) -> None:
    for venue in venues:
        venue.trouble.rest_until = venue.clock.monotonic() + fault.seconds
        venue.trouble.rest_status, venue.trouble.rest_form = fault.status, fault.form
        venue.trouble.rest_symbol = fault.symbol


def _bender(link: ClientConnection) -> Bender:
    if link.bender is None:
        link.bender = Bender()
    return link.bender


def _marked(records: Records, state: int) -> Records:
    marked = records.copy()
    marked["state"] = state
    return marked


def _payload(frame: Any) -> tuple[int, bytes]:
    """Return opcode and payload of a whole unmasked frame of ours."""
    data = bytes(frame)
    size = {126: 2, 127: 8}.get(data[1], 0)
    return data[0] & 0x0F, data[2 + size:]


def _halved(frame: Any) -> bytes:
    opcode, payload = _payload(frame)
    half = payload[:len(payload) // 2]
    return wire.head(len(half), opcode) + half


def _fragmented(frame: Any) -> bytes:
    opcode, payload = _payload(frame)
    third = max(len(payload) // 3, 1)
    parts = [payload[:third], payload[third:2 * third], payload[2 * third:]]
    return (wire.head(len(parts[0]), opcode, final=False) + parts[0]
            + wire.head(len(parts[1]), wire.CONTINUATION, final=False) + parts[1]
            + wire.head(3, wire.PONG) + b"mid" + wire.head(len(parts[2]), wire.CONTINUATION) + parts[2])


KINDS: dict[str, Callable[[list[SimVenue], list[ClientConnection], FaultOptions], None]] = {
    "cut": _cut, "fin": _cut, "close": _close, "slow_close": _close, "silence": _silence, "mute": _mute, "freeze": _freeze,
    "deaf": _deaf, "drop": _bend, "double": _bend, "reorder": _bend, "spoil": _bend, "fragment": _bend,
    "malformed": _malformed, "ping": _ping, "maintenance": _maintenance, "refuse": _refuse,
    "down": _refuse, "hang": _refuse, "rest": _rest,
}
