"""Fault injection, by schedule or by command: failures between an exchange and its clients.

KINDS has every kind with its keys and its effect; `pumpwatch simulate --faults` prints them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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


class Kind(NamedTuple):
    """A kind of fault: its function, the keys of FaultOptions that it reads, and its effect."""

    run: Callable[[list[SimVenue], list[ClientConnection], FaultOptions], None]
    keys: tuple[str, ...]
    effect: str

    @property
    def hits_connections(self) -> bool:
        """Return whether the fault concerns open connections; otherwise it concerns a venue's next requests."""
        return self.run not in (_refuse, _rest, _ban, _history)


def inject(venues: Mapping[str, SimVenue], truth: TruthWriter, fault: FaultOptions) -> dict[str, Any]:
    """Inject a fault now; return its kind and the affected connections. Raises UsageError for an unknown kind or place."""
    if fault.kind not in KINDS:
        raise UsageError(f"no fault `{fault.kind}`", f"known: {', '.join(KINDS)}")
    if fault.venue and fault.venue not in venues:
        raise UsageError(f"no venue `{fault.venue}`", f"known: {', '.join(venues)}")
    what, forms = FORMS_OF.get(fault.kind, FORMS_OF["malformed"])
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
    KINDS[fault.kind].run(chosen, connections, fault)
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


FORMS_OF = {"malformed": ("malformed frame", tuple(MALFORMED)), "rest": ("malformed answer", (*FORMS, HANG)),
            "history": ("distorted history", HISTORY_FORMS)}
KINDS = {
    "cut": Kind(_cut, (), "The TCP connection is reset."),
    "fin": Kind(_cut, (), "The TCP connection ends without a WebSocket close."),
    "close": Kind(_close, ("code", "reason"), "The venue closes the connection with this code and reason."),
    "slow_close": Kind(_close, ("code", "reason", "seconds"), "The venue closes the connection, then answers nothing and keeps "
                                                              "TCP open for this time."),
    "silence": Kind(_silence, ("seconds",), "Pings are answered, but the connection does not get the trades of this time."),
    "mute": Kind(_mute, ("symbol", "seconds"), "A symbol stays subscribed, but the connection does not get its trades of "
                                               "this time."),
    "freeze": Kind(_freeze, ("seconds",), "The venue neither reads nor sends, as if the network had died; then everything comes "
                                          "at once."),
    "deaf": Kind(_deaf, ("seconds",), "Pings and closes of the client get no answer."),
    "drop": Kind(_hit_frames, ("count",), "The next trade frames are lost."),
    "double": Kind(_hit_frames, ("count",), "The next trade frames come twice."),
    "reorder": Kind(_hit_frames, ("count",), "The next trade frames come in reverse order."),
    "spoil": Kind(_hit_frames, ("count",), "The next trade frames are cut in half inside their WebSocket frame."),
    "fragment": Kind(_hit_frames, ("count",), "The next trade frames come as WebSocket fragments, with an unsolicited pong in "
                                              "between."),
    "malformed": Kind(_malformed, ("count", "form", "frames"), "Additional frames that are not trades: of this form, of each "
                                                               "form in turn without one, or exactly these frames."),
    "ping": Kind(_ping, ("count",), "This number of pings comes at once."),
    "maintenance": Kind(_maintenance, ("seconds",), "The venue announces its shutdown, and closes with 1001 after this time."),
    "refuse": Kind(_refuse, ("seconds", "status"), "Handshakes get this HTTP status."),
    "down": Kind(_refuse, ("seconds",), "New connections are cut off at once."),
    "hang": Kind(_refuse, ("seconds",), "New connections get no answer, not even to TLS."),
    "rest": Kind(_rest, ("seconds", "status", "form", "symbol", "path"), "REST requests, or only those whose path contains "
                 "`path`, get this HTTP status. With a form they get a damaged answer instead, no answer before the end of the "
                 "time (hang), or a list without a symbol (without)."),
    "ban": Kind(_ban, ("seconds",), "A client gets 429, and then 418 with a Retry-After that doubles."),
    "history": Kind(_history, ("form", "seconds", "count", "symbol"), "REST answers about trades and minutes, or only those "
                    "about a symbol, are distorted for this time, or the next `count` of them if seconds is 0."),
}
