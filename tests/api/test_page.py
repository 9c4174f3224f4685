"""The page in a browser, beside a collector that records: at the size of a phone and of a desk, in dark and in light.

Debian's Chromium is driven by playwright. The page's own policy holds: whatever would break it is an error in the console.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pumpwatch.sim.process import SimProcess
from tests.api.desk import TOKEN
from tests.api.served import Served
from tests.forked import Forked
from tests.paper.made_runs import archive_with_prices, keep, listing, run_of

COIN = "SOMI"
VENUES = 12
WAIT_MS = 60_000  # on a busy machine; each wait ends with its condition
SIZES = [(390, 844, "dark"), (1440, 900, "light")]
WINDOW_S = 3.0
CUT = """(within) => [...document.querySelectorAll(`${within} td, ${within} th`)]
    .filter((cell) => cell.scrollWidth > cell.clientWidth || cell.getBoundingClientRect().right > innerWidth)
    .map((cell) => cell.textContent)"""
DRAWN = """() => [...document.querySelectorAll("#chart canvas")].some((canvas) =>
    canvas.width && canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean))"""


class Watched:
    """A collector on simulated venues, and the address of its page."""

    def __init__(self, folder: Path, sim: SimProcess) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{address}/"
        config = yaml.safe_load(sim.config_yaml())
        config["store"] = {"dir": str(folder / "data")}
        config["listing"] |= {"archive_dir": str(folder / "data"), "before_s": WINDOW_S, "after_s": WINDOW_S}
        config |= {"api": {"listen": address, "requests_per_minute": 0}, "symbols_file": "", "rollout": {"sink": "questdb"},
                   "sinks": {"questdb": {"addr": "127.0.0.1:1"}}}  # it is not opened before the roll-out starts
        self._folder, self._file, self.data = folder, folder / "collector.yaml", folder / "data"
        self._file.write_text(yaml.safe_dump(config))
        self._process: Forked | None = None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log, Path("/dev/null").open("rb") as nothing:
            files = (nothing.fileno(), log.fileno(), log.fileno())
            environ = {name: value for name, value in os.environ.items() if name != "PUMPWATCH_API__LISTEN"}
            self._process = Forked(["collect", "-c", str(self._file)], self._folder, files, env=environ)

    def ask(self, path: str) -> Any:
        """Return the answer, None without one."""
        try:
            return requests.get(self.url + path, timeout=10).json()
        except requests.RequestException:
            return None

    def reads_its_boards(self) -> bool:
        figures = self.ask("api/system/status") or {}
        states = [state for name, state in figures.get("listing", {}).items() if name != "windows"]
        up = [state["up"] for state in states] + [venue["connections_up"] for venue in figures.get("venues", ())]
        return bool(states) and all(up)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)


def until(done: Any, what: str) -> None:
    deadline = time.monotonic() + WAIT_MS / 1000
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("page")
    with SimProcess(symbols=8, rate=60, folder=str(folder / "venues")) as sim:
        watched = Watched(folder, sim)
        watched.start()
        try:
            until(watched.reads_its_boards, "the collector does not read its boards")
            sim.publish(COIN)
            yield watched
        finally:
            watched.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program, "a browser is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


class Watcher:
    """A page in the browser, and whatever it complains of: errors, warnings, violations of its policy."""

    def __init__(self, browser: Browser, width: int, height: int, scheme: Any) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        self.complaints: list[str] = []
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def fits(self) -> bool:
        """Return whether nothing has to be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[0]}px")
def screen(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Watcher]:
    watcher = Watcher(browser, *request.param)
    yield watcher
    watcher.page.close()


@pytest.fixture
def watcher(screen: Watcher, watched: Watched) -> Iterator[Watcher]:
    screen.page.goto(watched.url)
    yield screen
    assert screen.complaints == []


def test_the_figures_are_alive(watcher: Watcher) -> None:
    page = watcher.page
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    expect(page.locator("#venue-rows tr")).to_have_count(VENUES)
    first = page.locator("#venue-rows tr").first
    expect(first.locator("td").nth(2)).to_have_text("1/1")
    seen = first.locator("td").first.inner_text()
    expect(first.locator("td").first).not_to_have_text(seen)
    expect(page.locator("#rate")).to_have_text(re.compile(r"[1-9]"))
    expect(page.locator("#about")).to_have_text(re.compile(r"^\d\S*, up \d"))
    for name in ("#memory", "#memory-note", "#disk", "#disk-note", "#cpu", "#durable"):
        expect(page.locator(name)).to_have_text(re.compile(r"\d"))
    expect(page.locator("#board-rows tr")).not_to_have_count(0)
    expect(page.locator("#log-rows")).to_contain_text("a secret can be read by every user")
    expect(page.locator("#job-rows tr").filter(has_text="count minutes")).to_have_count(1)
    assert watcher.fits()


def test_a_coin_is_found_by_keyboard_and_shows_its_trades_on_every_venue(watcher: Watcher) -> None:
    page = watcher.page
    expect(page.locator("#venue-rows tr")).to_have_count(VENUES)
    watcher.press("/")
    page.keyboard.type("so")
    options = page.locator("#coins [role=option]")
    expect(options).to_have_text(["SOL", COIN])
    watcher.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert watcher.fits()
    watcher.press("Enter")
    expect(page.locator("#coin-name")).to_have_text(COIN)
    expect(page.locator("#coin-prices tr")).to_have_count(VENUES)
    expect(page.locator("#coin-prices td").first).to_have_text(re.compile(r"^\d+\.\d+$"))
    newest = page.locator("#coin-trades tr").first
    seen = newest.inner_text()
    expect(newest).not_to_have_text(seen, use_inner_text=True)
    assert watcher.fits()
    watcher.press("Escape")
    expect(page.locator("#coin-view")).to_be_hidden()
    watcher.press("/")
    page.keyboard.type("nowhere")
    watcher.press("Escape")
    expect(page.locator("#coin")).to_have_value("")


def test_the_price_of_a_cheap_coin_is_shown_whole(watcher: Watcher) -> None:
    page = watcher.page
    trade = {"trade_id": "1", "timestamp": time.time_ns(), "price": 8.123456e-3, "quantity": 705_608.5, "side": "sell"}
    symbols = [{"exchange": "binance", "market_type": market, "symbol": "PEPE", "multiplier": multiplier, "price": trade["price"],
                "at_ns": trade["timestamp"], "trades": [trade]} for market, multiplier in (("spot", 1), ("futures", 1000))]
    page.route("**/api/trades/recent*", lambda route: route.fulfill(json={"coin": "PEPE", "symbols": symbols}))
    page.goto(page.url + "#/coin/PEPE")
    expect(page.locator("#coin-prices td.n").nth(0)).to_have_text("0.000008123456")
    expect(page.locator("#coin-trades tr")).to_have_count(2)
    expect(page.locator("#coin-trades")).to_contain_text("705.61M")
    assert page.evaluate(CUT, "#coin-view") == []
    page.unroute("**/api/trades/recent*")


def test_a_coin_that_no_venue_lists_is_said_to_be_so(watcher: Watcher) -> None:
    page = watcher.page
    page.goto(page.url + "#/coin/NOWHERE")
    expect(page.locator("#coin-none")).to_have_text("None of the collected venues lists NOWHERE.")
    expect(page.locator("#coin-view table:visible")).to_have_count(0)
    page.goto(page.url.replace("NOWHERE", COIN))
    expect(page.locator("#coin-prices tr")).to_have_count(VENUES)
    expect(page.locator("#coin-none")).to_be_hidden()
    watcher.complaints = [line for line in watcher.complaints if "404" not in line]  # a browser reports the answer itself


def test_each_store_has_a_row_within_the_width_of_the_page(watcher: Watcher) -> None:
    rows = watcher.page.locator("#kept-rows")
    expect(rows).to_contain_text("journal")
    expect(rows).to_contain_text("coverage.sqlite")
    assert watcher.fits()


@pytest.mark.parametrize("width", [1190, 1280, 1440])
def test_the_table_of_venues_fits_its_card_with_a_line_that_can_be_read(browser: Browser, watched: Watched, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(watched.url)
    expect(page.locator("#venue-rows tr")).to_have_count(VENUES, timeout=WAIT_MS)
    line, last, card = page.evaluate("""() => [
        document.querySelector("#venue-rows canvas").clientWidth,
        document.querySelector("#venue-rows tr").lastElementChild.getBoundingClientRect().right,
        document.querySelector(".venues").parentElement.getBoundingClientRect().right]""")
    assert line >= 60 and last <= card
    page.close()


def test_a_roll_out_shows_its_phase_and_its_share(watcher: Watcher) -> None:
    rows = watcher.page.locator("#rollout-rows")
    expect(rows).to_contain_text("waiting")
    expect(rows.locator("div").filter(has_text="share")).to_contain_text(re.compile(r"0 %\s*of the instruments"))
    expect(rows).to_contain_text("none")


def test_a_listing_opens_its_chart(watcher: Watcher) -> None:
    page = watcher.page
    listing = page.locator("#listing-rows button").filter(has_text=COIN)
    expect(listing).to_contain_text(re.compile(r"[1-9][\d,]* trades"))
    listing.focus()
    watcher.press("Enter")
    expect(page.locator("html[data-ready=yes]")).to_have_count(1)
    expect(page.locator("#names button")).to_have_count(VENUES)
    expect(page.locator("#mover-rows tr")).to_have_count(VENUES)
    assert page.evaluate(DRAWN)
    assert watcher.fits()
    page.reload()  # the address has the listing
    expect(page.locator("#names button")).to_have_count(VENUES)
    page.go_back()
    expect(page.locator("#listing-view")).to_be_hidden()


def test_paper_runs_are_listed_and_one_opens_its_page_by_keyboard(watcher: Watcher, watched: Watched, tmp_path: Path) -> None:
    archive = str(archive_with_prices(tmp_path / "SOMI_1"))
    keep(watched.data, run_of(listing(COIN, [5.0, -3.0, None], archive), listing("KITE", [2.0], archive)))
    watcher.page.reload()
    row = watcher.page.locator("#paper-rows a").filter(has_text="buy_first")
    expect(row).to_contain_text(f"{COIN}, KITE")
    expect(row.locator(".delays span")).to_have_text([re.compile(text) for text in (
        r"100 ms median \+3\.50 %, 0 % lost, \+70\.00", r"300 ms median \u22123\.00 %, 100 % lost, \u221230\.00",
        "1,000 ms no entry")])
    assert watcher.fits()
    row.focus()
    with watcher.page.expect_popup() as opened:
        watcher.press("Enter")
    page = opened.value
    page.set_viewport_size(watcher.page.viewport_size or {"width": 390, "height": 844})
    page.on("pageerror", lambda error: watcher.complaints.append(str(error)))
    expect(page.locator("html[data-ready=yes]")).to_have_count(1)
    expect(page.locator("#names button")).to_have_text(["100 ms", "300 ms", "1,000 ms", "binance.spot SOMIUSDT"])
    assert page.evaluate(DRAWN)
    page.locator("#listing").select_option(label="KITE")
    expect(page.locator("#names button")).to_have_text(["100 ms", "binance.spot SOMIUSDT"])
    page.locator("#names button").first.press("Enter")
    expect(page.locator("#names button").first).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_dark_and_light_differ_and_labels_are_there(watcher: Watcher) -> None:
    page = watcher.page
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    red = int(re.findall(r"\d+", page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))[0])
    assert (red < 64) == dark
    for role, name in (("combobox", "Search a coin"), ("region", "Venues"), ("region", "Warnings")):
        expect(page.get_by_role(role, name=name)).to_be_visible()  # type: ignore[arg-type]
    expect(page.get_by_role("img", name=re.compile("trades a second of all venues"))).to_be_visible()


def test_a_collector_that_goes_away_is_missed_and_found_again(browser: Browser, watched: Watched) -> None:
    page = Watcher(browser, *SIZES[0]).page
    page.goto(watched.url)
    expect(page.locator("#venue-rows tr")).to_have_count(VENUES)
    watched.kill()
    expect(page.get_by_role("alert")).to_contain_text("The collector has gone away")
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Its last figures are [1-9][\d.]* s old"))
    expect(page.locator("#link")).to_have_text("gone")
    watched.start()
    expect(page.locator("#link")).to_have_text("live")
    expect(page.get_by_role("alert")).to_be_hidden()
    page.close()


class Stranger(BaseHTTPRequestHandler):
    """Another site on this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a stranger</title>")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


CLUSTER = {
    "name": "tokyo", "member": "a", "state": "in", "roles": ["leader", "boards.0"], "held": 16, "last_answer_s": 4.3,
    "shards": [],
    "members": [
        {"member": "a", "host": "a", "shards": 16, "roles": ["leader", "boards.0"], "expires_s": 4.6, "state": "in"},
        {"member": "collector-of-the-second-rack", "host": "host-with-a-name-that-is-long.example.com", "shards": 32,
         "roles": ["boards.1"], "expires_s": 4.1, "state": "leaving"},
        {"member": "c", "host": "h3", "shards": 0, "roles": [], "expires_s": -3.0, "state": "dead"}]}


@pytest.mark.parametrize("width", [400, 1280])
def test_members_of_a_cluster_are_listed_within_the_width_of_the_page(browser: Browser, tmp_path: Path, width: int) -> None:
    with Served(tmp_path, cluster=CLUSTER) as served:
        watcher = Watcher(browser, width, 900, "dark")
        watcher.page.goto(served.url)
        rows = watcher.page.locator("#member-rows tr")
        expect(rows).to_have_count(3)
        expect(watcher.page.locator("#cluster-head")).to_have_text("Cluster tokyo")
        expect(rows.nth(0)).to_have_text("aleader boards.0160.3in")
        expect(rows.nth(1)).to_contain_text("over")  # it has ended since Redis answered
        expect(rows.nth(2)).to_contain_text("over")
        assert watcher.fits() and watcher.page.evaluate(CUT, "#cluster") == [] and watcher.complaints == []
        watcher.page.close()


def test_without_a_cluster_its_part_is_hidden(watcher: Watcher) -> None:
    expect(watcher.page.locator("#venue-rows tr")).to_have_count(VENUES)
    expect(watcher.page.locator("#cluster")).to_be_hidden()


DRILL = """async (url) => { try { return (await fetch(url, { method: "POST", mode: "%s", credentials: "include",
    headers: { "Content-Type": "%s" }, body: '{"coin": "C0"}' })).status } catch (error) { return String(error) } }"""


def test_a_page_signs_in_once_and_no_other_site_uses_its_session(browser: Browser, tmp_path: Path) -> None:
    stranger = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=stranger.serve_forever, daemon=True).start()
    inbox = tmp_path / "data" / "inbox"
    with Served(tmp_path, every_request=True) as served:
        asked = browser.new_context(http_credentials={"username": "me", "password": TOKEN})
        asked.new_page().goto(served.url)
        until(asked.cookies, "the page has no session")
        (cookie,) = asked.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("pumpwatch_session", True, "Strict")

        later = browser.new_context()  # it does not know the token
        later.add_cookies([cookie])  # type: ignore[list-item]
        page = later.new_page()
        answer = page.goto(served.url)
        assert answer is not None and answer.status == 200
        assert page.evaluate("document.cookie") == ""
        assert page.evaluate("async () => (await (await fetch('api/session')).json()).by") == "session"

        page.goto(f"http://127.0.0.1:{stranger.server_port}/")  # another port: for cookies it is the same site
        drill = f"{served.url}/api/listings/drill"
        for mode, kind in (("no-cors", "text/plain"), ("cors", "text/plain"), ("cors", "application/json")):
            assert page.evaluate(DRILL % (mode, kind), drill) in (0, "TypeError: Failed to fetch")
        assert not inbox.exists()

        page.goto(served.url)
        assert page.evaluate(DRILL % ("cors", "application/json"), drill) == 202 and inbox.exists()
        asked.close()
        later.close()
    stranger.shutdown()
    stranger.server_close()
