"""Rows in the binary form of COPY: the bytes that the format asks for, whatever the ids are."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
from pumpwatch_plugins.sinks.postgres import rows

from pumpwatch.model import NO_SEQUENCE
from tests.trades import batch_of


def fields_of(body: bytes) -> list[list[bytes]]:
    """Read a body as the documents describe the format: a second reading of it, a field at a time."""
    assert body.startswith(b"PGCOPY\n\xff\r\n\0" + bytes(8))
    at, found = 19, []
    while (number := struct.unpack_from(">h", body, at)[0]) != -1:
        at += 2
        row = []
        for _ in range(number):
            length, = struct.unpack_from(">i", body, at)
            row.append(body[at + 4:at + 4 + length])
            at += 4 + length
        found.append(row)
    assert at + 2 == len(body)
    return found


def test_each_field_has_its_length_and_its_value() -> None:
    batch = replace(batch_of(3, start_ns=1_795_000_000_123_456_789), flags=np.array([0, 9, 64], np.uint8))
    found = fields_of(rows.copy_body(batch))
    assert [len(row) for row in found] == [11, 11, 11]
    time_us, received_us, price, quantity, trade_id, sequence, instrument, time_ns, received_ns, flags, sell = found[1]
    moment, epoch = int(batch.timestamp[1]), 946_684_800 * 10**9
    assert struct.unpack(">q", time_us)[0] * 1000 + struct.unpack(">h", time_ns)[0] + epoch == moment
    assert struct.unpack(">q", received_us)[0] * 1000 + struct.unpack(">h", received_ns)[0] + epoch == moment + 3_000_000
    assert struct.unpack(">dd", price + quantity) == (batch.price[1], batch.quantity[1])
    assert struct.unpack(">qq", trade_id + sequence) == (2, NO_SEQUENCE)
    assert struct.unpack(">ih", instrument + flags) == (batch.instrument[1], 9)
    assert sell == bytes([batch.side[1]])


def test_ids_that_are_text_have_a_field_of_their_own() -> None:
    batch = replace(batch_of(2), text_id=np.array([b"abc", b""], "S5"))
    assert [row[-1] for row in fields_of(rows.copy_body(batch))] == [b"abc\0\0", bytes(5)]
    assert rows.copy_statement(batch).count("text_id") == 1
    assert "text_id" not in rows.copy_statement(batch_of(2))


def test_values_for_unnest_are_arrays_of_one_length() -> None:
    batch = replace(batch_of(2), text_id=np.array([b"a\"b", b""], "S5"), side=np.array([1, 0], np.uint8))
    values = rows.unnest_values(batch)
    assert len(values) == len(rows.COLUMNS) + 1
    assert values[-1] == '{"612262",""}'
    assert values[-2] == "{True,False}"
    assert {value.count(",") for value in values} == {1}


def test_numbers_are_cast_by_their_shortest_digits_only_where_they_are_numeric() -> None:
    assert "t.price::text::numeric" in rows.merge("s", rows.STAGE, "numeric")
    assert "::numeric" not in rows.merge("s", rows.STAGE, "double")
