"""A collector that hears Upbit's announcements and reads its list: one listing by either way and by both, and a revoked key."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from pumpwatch_plugins.simulators.upbit import KEY

from pumpwatch.sim.process import SimProcess
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.sights import Sight
from tests.app.collector import CollectorProcess

PUSH = "upbit_announcements"
UNION = "빅타임(BIGTIME), 솜니아(SOMI) 신규 거래지원 안내 (KRW, BTC 마켓)"
BODY = ("<table><tr><th>디지털 자산</th><th>마켓</th></tr><tr><td>빅타임(BIGTIME)</td><td>BTC</td></tr>"
        "<tr><td>솜니아(SOMI)</td><td>KRW, BTC</td></tr></table>")


def listing_config(sim: SimProcess, *sources: str, interval_s: float = 1.0) -> dict[str, Any]:
    boards = yaml.safe_load(sim.config_yaml())["listing"]["sources"]
    chosen = {name: boards[name] | ({} if name == PUSH else {"interval_s": interval_s}) for name in sources}
    if "upbit" not in chosen:  # not polled, but read after a connect: at the simulated board
        chosen["upbit"] = boards["upbit"] | {"enabled": False}
    return {"window_s": 1.0, "sources": chosen}


def written(collector: CollectorProcess) -> str:
    """Return the whole log, and the status."""
    return (collector.folder / "collector.log").read_text("utf-8", "replace") + json.dumps(collector.figures())


def sights(data: Path) -> list[Sight]:
    ledger = Ledger(data)
    try:
        return ledger.sights()
    finally:
        ledger.close()


def wait_for_sights(data: Path, count: int, within_s: float = 60.0) -> list[Sight]:
    deadline = time.monotonic() + within_s
    while len(found := sights(data)) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def up(figures: dict[str, Any], name: str = PUSH) -> bool:
    return figures["listing"].get(name, {}).get("up") is True


@pytest.fixture
def sim() -> Any:
    with SimProcess(venues=["binance.spot"], rate=50, symbols=3) as made:
        yield made


def test_both_sources_see_one_listing_and_its_archive_shows_what_each_of_them_saw(sim: SimProcess, tmp_path: Path) -> None:
    with CollectorProcess(sim, tmp_path, listing=listing_config(sim, "upbit", PUSH)) as collector:
        collector.wait_until(lambda figures: up(figures) and up(figures, "upbit"))
        sim.publish(sim.addresses["coins"][0], title=UNION.replace("SOMI", sim.addresses["coins"][0]),
                    text=BODY.replace("SOMI", sim.addresses["coins"][0]))
        found = wait_for_sights(collector.data, 2)
        assert {sight.source for sight in found} == {"upbit", PUSH}
        assert {(sight.symbol, sight.of_source) for sight in found} == {(sim.addresses["coins"][0], found[0].of_source)}
        collector.wait_until(lambda figures: list(tmp_path.glob("archive/[A-Z]*/notice.json")))
        (notice,) = tmp_path.glob("archive/[A-Z]*/notice.json")
        shown = {sight["source"]: {row["event"]: row for row in sight["shown"]}
                 for sight in json.loads(notice.read_text("utf-8"))["sights"]}
        web, push = shown["upbit"]["seen"], shown[PUSH]["seen"]
        assert shown["upbit"]["body"]["text"] == shown[PUSH]["body"]["text"] == json.loads(push["raw"])["body"]
        assert json.loads(web["raw"])["title"] == json.loads(push["raw"])["title"]
        assert web["answer"]["etag"] and push["answer"] is None
        assert KEY["access_key"] not in written(collector) and KEY["secret_key"] not in written(collector)


def test_each_way_alone_finds_a_listing_and_a_connection_cut_just_before_it_loses_none(sim: SimProcess, tmp_path: Path) -> None:
    coins = sim.addresses["coins"]
    with CollectorProcess(sim, tmp_path, listing=listing_config(sim, PUSH)) as collector:
        collector.wait_until(up)
        collector.wait_until(lambda figures: up(figures, "upbit"))  # read once, after the connect
        sim.ask("board_fault", board="upbit", fault="html")
        sim.publish(coins[0])
        assert [sight.source for sight in wait_for_sights(collector.data, 1)] == [PUSH]
        sim.ask("board_fault", board="upbit", fault="ws_cut")
        sim.publish(coins[1])
        found = wait_for_sights(collector.data, 3)
        assert {(sight.symbol, sight.source, sight.of_source) for sight in found} == {
            (coins[0], PUSH, PUSH), (coins[0], "upbit", PUSH), (coins[1], "upbit", "upbit")}


def test_a_revoked_key_is_told_once_and_shown_nowhere(sim: SimProcess, tmp_path: Path) -> None:
    with CollectorProcess(sim, tmp_path, listing=listing_config(sim, "upbit", PUSH)) as collector:
        collector.wait_until(up)
        sim.ask("board_fault", board="upbit", fault="key_revoked")
        collector.wait_until(lambda figures: not up(figures) and sim.status()["boards"]["upbit"]["push"]["rejected"] >= 3)
        row = collector.figures()["listing"][PUSH]
        sim.publish(sim.addresses["coins"][0])
        assert [sight.source for sight in wait_for_sights(collector.data, 1)] == ["upbit"]
        assert row["up"] is False
        sim.ask("board_fault", board="upbit", fault="none")
        collector.wait_until(up)
        text = written(collector)
    assert text.count(f"listing source down source={PUSH}") == text.count(f"listing source up again source={PUSH}") == 1
    assert KEY["access_key"] not in text and KEY["secret_key"] not in text and "Bearer ey" not in text
