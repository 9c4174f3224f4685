"""Fault injection, by schedule or by command: failures between an exchange and its clients.

kind            effect on the chosen connections (`venue`, `connection`, `connections`)
cut             the TCP connection is reset
fin             it ends without a WebSocket close
close           closed with `code` and `reason` (1008 "Too many requests" by default)
slow_close      closed, but the venue answers nothing and keeps TCP open for `seconds`
silence         pings are answered, but the trades of `seconds` are lost to the connection
mute            one `symbol` stays subscribed, but its trades of `seconds` are lost to the connection
freeze          neither reads nor sends for `seconds`, as if the network had died; then everything comes at once
deaf            pings and closes of the client get no answer for `seconds`
drop            the next `count` trade frames are lost
double          the next `count` trade frames come twice
reorder         the next `count` trade frames come in reverse order
spoil           the next `count` trade frames are cut in half inside their WebSocket frame
fragment        the next `count` trade frames come as WebSocket fragments, with an unsolicited pong in between
malformed       `count` additional frames that are not trades: of the `form` in MALFORMED, or each form in turn; or `frames`
ping            `count` pings come at once
maintenance     the venue announces its shutdown, and closes with 1001 after `seconds`
refuse          handshakes get HTTP `status` for `seconds`
down            new connections are cut off at once, for `seconds`
hang            new connections get no answer, not even to TLS, for `seconds`
rest            REST requests get HTTP `status` for `seconds`; with `form`, a damaged answer, none for so long (`hang`), or a
                list without `symbol` (`without`): see sim.rest_faults. With `path`, only requests whose path has it
ban             an address that asks within `seconds` gets 429, and then 418 with a Retry-After that doubles
history         REST answers about trades and minutes are distorted in the `form` of sim.rest_history, for `seconds`, or with
                seconds 0 the next `count` of them; with `symbol`, those about it
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import gevent

from pumpwatch.errors import UsageError
from pumpwatch.sim import wire
from pumpwatch.sim.client_connection import ClientConnection
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.options import FaultOptions
from pumpwatch.sim.rest_faults import FORMS, HANG
from pumpwatch.sim.rest_history import FORMS as HISTORY_FORMS
from pumpwatch.sim.rest_history import HistoryFault
from pumpwatch.sim.venue import SimVenue

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


def inject(venues: Mapping[str, SimVenue], truth: TruthWriter, fault: FaultOptions) -> dict[str, Any]:
    """Make a fault happen now; return its kind and the connections it hit. Raises UsageError for an unknown kind or place."""
    if fault.kind not in KINDS:
        raise UsageError(f"no fault `{fault.kind}`", f"known: {', '.join(KINDS)}")
    if fault.venue and fault.venue not in venues:
        raise UsageError(f"no venue `{fault.venue}`", f"known: {', '.join(venues)}")
    what, forms = FORMS_OF.get(fault.kind, ("malformed frame", tuple(MALFORMED)))
    if fault.form not in forms and (fault.form or fault.kind == "history"):
        raise UsageError(f"no {what} `{fault.form}`", f"known: {', '.join(forms)}")
    chosen = [venue for name, venue in venues.items() if fault.venue in ("", name)]
    if fault.kind == "mute" and not any(fault.symbol in venue.table.index for venue in chosen):
        raise UsageError(f"no symbol `{fault.symbol}` to mute", "`symbol` is in the venue's own spelling")
    connections = [connection for venue in chosen for connection in venue.connections.values()
                   if fault.connection in (0, connection.number)]
    connections = connections[:fault.connections or None]
    numbers = [connection.number for connection in connections]
    truth.event("fault", fault=fault.kind, venues=[venue.name for venue in chosen], seconds=fault.seconds, count=fault.count,
                connections=numbers, form=fault.form, symbol=fault.symbol)
    KINDS[fault.kind](chosen, connections, fault)
    return {"fault": fault.kind, "connections": numbers}


def _cut(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    for connection in connections:
        connection.drop(f"fault: {fault.kind}", abort=fault.kind == "cut")


def _close(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    for connection in connections:
        connection.deaf = connection.deaf or fault.kind == "slow_close"
        connection.close(fault.code, fault.reason, fault.seconds if fault.kind == "slow_close" else 0.0)


def _silence(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    for connection in connections:
        connection.inject_frame_faults().silent_until = connection.context.clock.monotonic() + fault.seconds


def _mute(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    for connection in connections:
        symbol = connection.context.table.index.get(fault.symbol)
        if symbol is not None:
            until = connection.context.clock.monotonic() + fault.seconds
            connection.inject_frame_faults().muted_until[symbol] = until


def _freeze(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    for connection in connections:
        connection.stream.freeze()
        gevent.spawn_later(fault.seconds, connection.stream.thaw)


def _deaf(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    for connection in connections:
        connection.deaf = True
        gevent.spawn_later(fault.seconds, setattr, connection, "deaf", False)


def _hit_frames(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    for connection in connections:
        connection.inject_frame_faults().remaining[fault.kind] += fault.count


def _malformed(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    given = [(text.encode(), wire.TEXT) for text in fault.frames]
    turns = itertools.cycle(given or ([MALFORMED[fault.form]] if fault.form else MALFORMED.values()))
    for connection in connections:
        for payload, opcode in itertools.islice(turns, len(given) or fault.count):
            connection.send_raw(wire.head(len(payload), opcode) + payload)


def _ping(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    for connection in connections:
        for _number in range(fault.count):
            connection.ping()


def _maintenance(_: list[SimVenue], connections: list[ClientConnection], fault: FaultOptions) -> None:
    for connection in connections:
        connection.announce_end()
    for connection in connections:
        gevent.spawn_later(fault.seconds, connection.close, 1001, "going away")


def _refuse(venues: list[SimVenue], _: list[ClientConnection], fault: FaultOptions) -> None:
    for venue in venues:
        venue.faults.refuse_until = venue.clock.monotonic() + fault.seconds
        venue.faults.refuse_status, venue.faults.refusal = fault.status, fault.kind


def _rest(venues: list[SimVenue], _: list[ClientConnection], fault: FaultOptions) -> None:
    for venue in venues:
        venue.faults.rest_until = venue.clock.monotonic() + fault.seconds
        venue.faults.rest_status, venue.faults.rest_form = fault.status, fault.form
        venue.faults.rest_symbol, venue.faults.rest_path = fault.symbol, fault.path


def _ban(venues: list[SimVenue], _: list[ClientConnection], fault: FaultOptions) -> None:
    for venue in venues:
        venue.faults.ban_until = venue.clock.monotonic() + fault.seconds
        venue.faults.ban_s = fault.seconds


def _history(venues: list[SimVenue], _: list[ClientConnection], fault: FaultOptions) -> None:
    for venue in venues:
        until = venue.clock.monotonic() + fault.seconds if fault.seconds else 0.0
        venue.faults.history = HistoryFault(fault.form, fault.count, until, fault.symbol)


FORMS_OF = {"rest": ("malformed answer", (*FORMS, HANG)), "history": ("distorted history", HISTORY_FORMS)}
KINDS: dict[str, Callable[[list[SimVenue], list[ClientConnection], FaultOptions], None]] = {
    "cut": _cut, "fin": _cut, "close": _close, "slow_close": _close, "silence": _silence, "mute": _mute, "freeze": _freeze,
    "deaf": _deaf, "drop": _hit_frames, "double": _hit_frames, "reorder": _hit_frames, "spoil": _hit_frames,
    "fragment": _hit_frames, "malformed": _malformed, "ping": _ping, "maintenance": _maintenance, "refuse": _refuse,
    "down": _refuse, "hang": _refuse, "rest": _rest, "ban": _ban, "history": _history,
}
