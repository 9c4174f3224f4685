"""A chart holds all it shows, runs nothing but its own scripts, and shows prices, volumes and marks where they belong."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.listing.analysis import analyse
from pumpwatch.listing.chart import STEPS_MAX, Grid, chart_pieces, script_json
from pumpwatch.listing.manifest import iso
from pumpwatch.model import BUY, SELL, Flag, Instrument, TradeBatch
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, listing_of
from tests.listing.tape import calm, tape

S = NS_PER_S
CATALOGUE = catalogue_of_venues()
LISTING = listing_of()


def page(trades: TradeBatch, *, title: str = LISTING.title, catalogue: Catalogue = CATALOGUE,
         sights: Sequence[Mapping[str, Any]] = ()) -> str:
    analysis = analyse(trades, catalogue, [0, 1, 2], ANNOUNCED_NS, LISTING.detected_at_ns) | {
        "window": [[ANNOUNCED_NS - 20 * S, ANNOUNCED_NS + 23 * S]], "announced_at": iso(ANNOUNCED_NS),
        "triggered_at_ns": LISTING.triggered_at_ns}
    notice = asdict(LISTING) | {"title": title, "announced_at": iso(ANNOUNCED_NS), "detected_after_ms": 3000,
                                "triggered_after_ms": 3000}
    return b"".join(chart_pieces("KITE", analysis, trades, [0, 1, 2], catalogue, [notice], sights)).decode()


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


class Reader(html.parser.HTMLParser):
    """Collects elements with their attributes, and what each script holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and data.strip():
            self.scripts.append(data)


MARKET = TradeBatch.concat([
    calm(0, from_s=-20, to_s=0), tape(0, [(250, 1.1, 10, BUY), (260, 1.2, 10, SELL), (300, 1.3, 1, BUY), (301, 1.4, 2, SELL)])])


def test_a_point_is_the_last_price_of_its_step() -> None:
    data = data_of(page(MARKET))
    (line,) = data["venues"]
    assert (data["step_ms"], data["first_ms"], len(data["buy"])) == (100, -20_000, 431)
    prices = dict(zip(line["at"], line["price"], strict=True))
    assert (prices[203], prices[204], prices[5]) == (1.3, 1.4, 1.0)  # +300 ms belongs to the step that ends then
    assert line["first"] == 203
    assert data["buy"][203] == pytest.approx(11 + 1.3)
    assert (data["sell"][203], data["sell"][204], data["sell"][100]) == (12, pytest.approx(2.8), 0)


def test_marks_stand_at_the_publication_the_sight_and_the_trigger() -> None:
    assert data_of(page(MARKET))["marks"] == [
        {"label": "published", "at": 200}, {"label": "seen by upbit", "at": 230}, {"label": "triggered", "at": 230}]


def test_each_source_that_saw_the_listing_has_a_mark() -> None:
    sights = [{"source": "upbit", "seen_at_ns": ANNOUNCED_NS + S},
              {"source": "upbit_markets", "seen_at_ns": ANNOUNCED_NS + 4 * S}]
    marks = data_of(page(MARKET, sights=sights))["marks"]
    assert {mark["label"]: mark["at"] for mark in marks} == {
        "published": 200, "seen by upbit": 210, "seen by upbit_markets": 240, "triggered": 230}


def test_a_bundle_is_shown_by_the_price_of_one_coin_and_odd_trades_are_left_out() -> None:
    bundle = tape(1, [(-100, 1000.0, 1, BUY), (100, 2000.0, 1, BUY)])
    odd = replace(bundle, flags=bundle.flags | int(Flag.ADL), price=bundle.price * 9)
    data = data_of(page(TradeBatch.concat([bundle.take(slice(0, 1)), odd.take(slice(0, 1)), bundle.take(slice(1, 2))])))
    (line,) = data["venues"]
    assert (line["name"], line["price"], line["futures"]) == ("alpha.futures", [1.0, 2.0], True)


@pytest.mark.parametrize("seconds", [2, 40, 600, 2100, 86_400])
def test_a_window_of_any_length_has_a_bounded_number_of_steps(seconds: int) -> None:
    grid = Grid(ANNOUNCED_NS, ANNOUNCED_NS - S, ANNOUNCED_NS + seconds * S)
    assert grid.count <= STEPS_MAX + 800
    assert grid.step(ANNOUNCED_NS + 3 * grid.step_ms * NS_PER_MS) == grid.step(ANNOUNCED_NS + 3 * grid.step_ms * NS_PER_MS - 5)
    assert grid.step(ANNOUNCED_NS - 4000 * S) is None


HOSTILE = '</title></script><script>alert(1)</script><img src=x onerror=alert(2)> "\'& \u202eRTL 🚀 $coin {{'


def test_markup_in_a_title_or_symbol_stays_text() -> None:
    catalogue = Catalogue()
    catalogue.add(("alpha", "spot"), Instrument(symbol="<b onclick=x>USDT</script>", base="KITE", quote="USDT"))
    for number in (1, 2):
        catalogue.add(CATALOGUE.venues[number], CATALOGUE.instruments[number])
    plain, hostile = Reader(page(MARKET)), Reader(page(MARKET, title=HOSTILE, catalogue=catalogue))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert not [name for _, attributes in hostile.elements for name in attributes if name.startswith("on")]
    assert "$coin {{" in page(MARKET, title=HOSTILE)
    assert script_json({"a": "</script>&"}) == r'{"a":"\u003c/script\u003e\u0026"}'


def test_a_page_fetches_nothing_and_runs_its_two_scripts_alone() -> None:
    reader = Reader(page(MARKET))
    assert not [attributes for _, attributes in reader.elements if "src" in attributes]
    assert {attributes["href"] for tag, attributes in reader.elements if tag == "a"} == {"https://www.tradingview.com/"}
    (policy,) = [attributes["content"] or "" for tag, attributes in reader.elements
                 if attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    for script in reader.scripts[1:]:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert len(reader.scripts) == 3


def test_the_table_names_who_moved_first() -> None:
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page(MARKET))
    assert cells[:8] == ["alpha.spot", "KITEUSDT", "+0.250 s", "", "+10.00 %", "+40.00 %", "+0.301 s", "24"]


def test_a_window_without_a_trade_has_a_page_too() -> None:
    data = data_of(page(TradeBatch.empty()))
    assert (data["venues"], sum(data["buy"]), len(data["marks"])) == ([], 0, 3)


# a window of a browser without a screen has at least 500 px, a frame has any width
FRAMES = """<style>:root { color-scheme: light dark }</style><body><script>
const tell = (frame) => {
  const page = frame.contentDocument.documentElement;
  const canvases = page.querySelectorAll("canvas").length > 4;
  const ground = frame.contentWindow.getComputedStyle(frame.contentDocument.body).backgroundColor;
  const injected = page.querySelectorAll("img, b").length;
  document.body.append(`${page.dataset.ready} canvases ${canvases} fits ${page.scrollWidth === page.clientWidth} on ${ground}
    with ${injected};`);
};
</script>
<iframe src="chart.html" onload="tell(this)" style="width:390px;height:1200px;border:0"></iframe>
<iframe src="chart.html" onload="tell(this)" style="width:1440px;height:1200px;border:0"></iframe></body>"""


@pytest.mark.parametrize(("scheme", "ground"), [(0, "13, 17, 23"), (1, "255, 255, 255")], ids=["dark", "light"])
def test_a_browser_draws_it_at_two_widths_without_an_error(tmp_path: Path, scheme: int, ground: str) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here")
    (tmp_path / "chart.html").write_text(page(MARKET, title=HOSTILE), "utf-8")
    (tmp_path / "frames.html").write_text(FRAMES, "utf-8")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         f"--blink-settings=preferredColorScheme={scheme}",
         "--enable-logging=stderr", "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom",
         (tmp_path / "frames.html").as_uri()], capture_output=True, text=True, timeout=300, check=False)
    assert "CONSOLE" not in done.stderr, done.stderr
    told = re.findall(r"(\w+) canvases (\w+) fits (\w+) on rgb\(([\d, ]+)\)\s+with (\d+);", done.stdout)
    assert told == [("yes", "true", "true", ground, "0")] * 2
