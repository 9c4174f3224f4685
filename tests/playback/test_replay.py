"""Every trade of an archive reaches a client of each venue, and the notice is on the board at its moment."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.playback.archived import read_archived
from pumpwatch.playback.replay import Playback, PlayOptions, play
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.server import load_dialects
from tests.playback import made_archive
from tests.playback.raw_client import fetch, read_all
from tests.playback.running import recorded, running

VENUES = 12


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_archive.write(tmp_path_factory.mktemp("archive")).path


def symbols() -> dict[str, str]:
    return {dialect.name: dialect.symbols([Coin(made_archive.COIN, 0.82)])[0].symbol for dialect in made_archive.dialects()}


def test_each_trade_is_sent_with_its_id_price_quantity_side_and_moved_time(archive: Path, tmp_path: Path) -> None:
    with running(tmp_path, archive, "--wait", str(VENUES)) as replay:
        seen = read_all(replay.addresses, symbols())
        code, figures = replay.ended()
    wanted = recorded(archive)
    assert seen.keys() == wanted.keys() and len(seen) == VENUES
    shifts = set()
    for venue, trades in seen.items():
        no_ids = venue.startswith(made_archive.NO_IDS)
        sent = sorted((trade["timestamp"], "" if no_ids else trade["trade_id"], trade["side"], trade["price"], trade["quantity"])
                      for trade in trades)
        kept = sorted((trade.timestamp, "" if no_ids else trade.trade_id, trade.side, trade.price, trade.quantity)
                      for trade in wanted[venue])
        shifts.add(sent[0][0] - kept[0][0])
        assert [row[1:] for row in sent] == [row[1:] for row in kept], venue
        assert {row[0] - other[0] for row, other in zip(sent, kept, strict=True)} == {sent[0][0] - kept[0][0]}, venue
    assert len(shifts) == 1 and shifts.pop() % NS_PER_S == 0
    total = VENUES * made_archive.COUNT
    assert (code, figures) == (0, {"trades": total, "of": total, "sent": total, "notices": 2})


def test_rest_and_the_board_answer_from_the_tape(archive: Path, tmp_path: Path) -> None:
    with running(tmp_path, archive, "--loop", "--speed", "1", "--times", "recorded", "--lead-s", "0") as replay:
        # trades before the lead are in the history at once
        rows = json.loads(fetch(replay.addresses, "binance.spot", "/api/v3/historicalTrades?symbol=SOMIUSDT&limit=1000"))
        assert len(rows) >= made_archive.COUNT // 2 - 1
        assert rows[0]["price"] == "0.80000000" and rows[0]["time"] == (made_archive.ANNOUNCED_NS - NS_PER_S) // 1_000_000
        book = json.loads(fetch(replay.addresses, "gate.spot", "/spot/order_book?currency_pair=SOMI_USDT&with_id=true"))
        best = book["id"], book["bids"][0], book["asks"][0]
        assert best == (77, ["0.8100000000", "100.000000"], ["0.8300000000", "200.000000"])
        assert made_archive.TITLE in titles(replay.addresses)


def titles(addresses: dict[str, Any]) -> list[str]:
    tls = ssl.create_default_context(cafile=addresses["ca_file"])
    with urllib.request.urlopen(addresses["boards"]["upbit"]["url"], context=tls, timeout=30) as answer:
        return [notice["title"] for notice in json.loads(answer.read())["data"]["notices"]]


def replay_of(archive: Path, folder: Path, **options: Any) -> Playback:
    return Playback(read_archived(archive), PlayOptions(**options), str(folder), load_dialects())


def test_the_notice_is_shown_at_its_moment_with_its_own_number_words_and_time(archive: Path, tmp_path: Path) -> None:
    for detected, shown_ns in ((False, made_archive.ANNOUNCED_NS), (True, made_archive.DETECTED_NS)):
        replay = replay_of(archive, tmp_path, detected=detected, recorded_times=True)
        board = replay.boards["upbit"]
        replay.begin()
        for at_ns, shown in ((shown_ns - 1, False), (shown_ns, True)):
            replay.notices.advance(0.0, 0, at_ns)
            assert (made_archive.TITLE in [post.title for post in board.posts]) == shown
        post = board.ordered()[0]
        assert (post.number, post.uuid, post.category, post.body) == (7001, "81234", "거래", "<p>KRW</p>")
        assert post.first_listed_at_ns == made_archive.ANNOUNCED_NS
        replay.notices.advance(0.0, 0, made_archive.DETECTED_NS)
        assert "KRW-SOMI" in [post.title for post in replay.boards["upbit_markets"].posts]
        replay.close()


def test_ports_follow_each_other_from_the_first(archive: Path, tmp_path: Path) -> None:
    replay = replay_of(archive, tmp_path, first_port=20_000)
    ports = replay.options.ports
    assert [ports[name] for name in ("binance.futures", "binance.spot", "phemex.spot")] == [20_000, 20_001, 20_011]
    assert len(set(ports.values())) == len(ports)
    replay.close()


def test_a_second_round_begins_without_the_trades_and_notices_of_the_first(archive: Path, tmp_path: Path) -> None:
    replay = replay_of(archive, tmp_path, recorded_times=True, loop=True)
    for _ in range(2):
        replay.begin()
        assert replay.played().trades == 0 and not len(replay.venues["okx.spot"].history.recent(0, 9))
        assert made_archive.TITLE not in [post.title for post in replay.boards["upbit"].posts]
        for source in (*replay.tapes, replay.notices):
            source.advance(0.0, 0, replay.to_ns)
        assert replay.played().trades == replay.archived.trades and all(source.finished() for source in replay.sources)
        assert [post.title for post in replay.boards["upbit"].posts].count(made_archive.TITLE) == 1
    replay.close()


def test_a_port_that_is_in_use_is_named_before_anything_is_played(archive: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServiceUnavailable, match="cannot listen on 127"):
        play(read_archived(archive), PlayOptions(first_port=taken.getsockname()[1], folder=str(tmp_path)), load_dialects(),
             listening=lambda addresses, replay: None, progress=lambda played: None)


def test_an_archive_without_a_dialect_for_its_venues_is_a_config_error(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no simulator plugin speaks as"):
        Playback(read_archived(archive), PlayOptions(), str(tmp_path), [])
