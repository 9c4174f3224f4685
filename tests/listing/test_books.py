"""Books of a window become files of its archive, and come back from it as they were."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.archive_writer import receive, send
from pumpwatch.listing.archived_prices import read_prices
from pumpwatch.listing.books import (
    CHUNK,
    PROBLEMS,
    BookProblem,
    Misses,
    Snapshot,
    VenueBooks,
    join_books,
    read_books,
    snapshot_of,
)
from pumpwatch.listing.context import Reach
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.listing.open_window import intervals_of
from pumpwatch.model import TradeBatch
from pumpwatch.order_book import OrderBook
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, listing_of, trades

KITE = listing_of()
SPAN = Span("KITE", [KITE], intervals_of([KITE], Reach()))
CATALOGUE: Catalogue = catalogue_of_venues()
MARKET = TradeBatch.concat([trades(0, jump_ms=400), trades(1, jump_ms=250)])


def taken(after_s: float, price: float = 0.1, *, sequence: int = 7) -> Snapshot:
    at_ns = ANNOUNCED_NS + int(after_s * NS_PER_S)
    book = OrderBook(bids=[(price * 0.99, 3.0)], asks=[(price, 100_000.5), (price * 2, 1.25)], at_ns=at_ns + 5, sequence=sequence)
    return snapshot_of("KITEUSDT", book, at_ns, at_ns + 9_000_000)


def written(folder: Path, books: list[VenueBooks], batch: TradeBatch = MARKET) -> Path:
    return write_archive(folder, SPAN, batch, CATALOGUE, [], [], Pass(5, books=books)).path


def files_of(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def alpha(*snapshots: Snapshot) -> VenueBooks:
    return VenueBooks("alpha", "spot", list(snapshots), [BookProblem(1, 2, 3, "HTTP 503")])


def test_a_file_has_columns_by_time_and_says_what_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, [alpha(taken(3), taken(5, 0.11, sequence=-1)), VenueBooks("beta", "spot", [], [])])
    file = json.loads((path / "raw/alpha/spot_book.json").read_bytes())
    assert {key: file[key] for key in file if key not in ("snapshots", "problems")} == {
        "format": "pumpwatch.book/1", "exchange": "alpha", "market_type": "spot", "coin": "KITE", "interval_s": 2.0, "levels": 50,
        "count": 2, "failed": 3}
    assert file["problems"] == [{"from_ns": 1, "to_ns": 2, "count": 3, "reason": "HTTP 503"}]
    at_ns = ANNOUNCED_NS + 3 * NS_PER_S
    assert {name: column[0] for name, column in file["snapshots"].items()} == {
        "symbol": "KITEUSDT", "asked_at": at_ns, "received_at": at_ns + 9_000_000, "timestamp": at_ns + 5, "sequence": 7,
        "bid_price": [0.099], "bid_quantity": [3.0], "ask_price": [0.1, 0.2], "ask_quantity": [100_000.5, 1.25]}
    assert file["snapshots"]["sequence"] == [7, None]
    assert not (path / "raw/beta/spot_book.json").exists()


def test_the_manifest_counts_the_snapshots_and_verify_checks_their_file(tmp_path: Path) -> None:
    path = written(tmp_path, [alpha(taken(3), taken(5))])
    manifest = read_manifest(path)
    assert manifest is not None
    (row,) = manifest.books
    assert (row.exchange, row.market_type, row.snapshots, row.failed) == ("alpha", "spot", 2, 3)
    assert (row.first_ns, row.last_ns) == (ANNOUNCED_NS + 3 * NS_PER_S, ANNOUNCED_NS + 5 * NS_PER_S)
    assert [(gap.count, gap.reason) for gap in row.problems] == [(3, "HTTP 503")]
    assert "raw/alpha/spot_book.json" in manifest.files and check_archive(path).faults == ()
    file = path / "raw/alpha/spot_book.json"
    file.write_bytes(file.read_bytes().replace(b"0.2", b"0.3"))
    assert [(fault.file, fault.problem) for fault in check_archive(path).faults] == [
        ("raw/alpha/spot_book.json", "its SHA-256 differs")]


def test_books_come_back_as_they_were(tmp_path: Path) -> None:
    books = alpha(*(taken(3 + number / 10, 0.1 + number * 1e-9) for number in range(2 * CHUNK + 1)))
    assert read_books(written(tmp_path, [books])) == [books]


def test_an_archive_written_again_has_the_same_books_and_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, [alpha(taken(3), taken(5)), VenueBooks("beta", "spot", [], [BookProblem(1, 2, 4, "no answer")])])
    before = files_of(path)
    assert written(tmp_path, []) == path
    after = files_of(path)
    assert before.keys() == after.keys()
    assert [name for name, content in before.items() if after[name] != content] == ["manifest.json"]
    manifest = read_manifest(path)
    assert manifest is not None
    assert [(row.exchange, row.snapshots, row.failed) for row in manifest.books] == [("alpha", 2, 3), ("beta", 0, 4)]


def test_new_snapshots_are_added_to_those_of_the_archive(tmp_path: Path) -> None:
    path = written(tmp_path, [alpha(taken(3), taken(5))])
    written(tmp_path, [alpha(taken(5), taken(7))])
    (books,) = read_books(path)
    assert [(snapshot.asked_at_ns - ANNOUNCED_NS) // NS_PER_S for snapshot in books.snapshots] == [3, 5, 7]


def test_the_analysis_has_the_price_of_a_buy_by_the_book(tmp_path: Path) -> None:
    path = written(tmp_path, [alpha(taken(1.0, 0.125))])
    rows = json.loads((path / "refined/pump_analysis.json").read_bytes())["instruments"]
    buys = {row["symbol"]: row["book_buys"] for row in rows}
    assert buys["1000KITEUSDT"] is None
    (row,) = [row for row in buys["KITEUSDT"] if (row["value"], row["delay_ms"]) == (1000.0, 1000)]
    assert (row["price"], row["book_after_ms"]) == (pytest.approx(0.125), 5e-6)


def test_of_a_damaged_file_nothing_is_taken(tmp_path: Path) -> None:
    path = written(tmp_path, [alpha(taken(3))])
    file = path / "raw/alpha/spot_book.json"
    for damage in (b"", b"{}", file.read_bytes()[:-20], file.read_bytes().replace(b"pumpwatch.book/1", b"pumpwatch.book/9"),
                   file.read_bytes().replace(b'"sequence": [7]', b'"sequence": [7,8]')):
        whole = file.read_bytes()
        file.write_bytes(damage)
        assert read_books(path) == []
        file.write_bytes(whole)


def test_prices_of_an_archive_are_those_of_trades(tmp_path: Path) -> None:
    plain = read_prices(written(tmp_path / "plain", []))
    assert read_prices(written(tmp_path / "books", [alpha(taken(3))])).price.tolist() == plain.price.tolist()


def test_parts_of_one_venue_are_joined_and_a_problem_counts_once() -> None:
    first = VenueBooks("alpha", "spot", [taken(3)], [BookProblem(1, 2, 3, "HTTP 503")])
    later = VenueBooks("alpha", "spot", [taken(3), taken(5)], [BookProblem(1, 9, 5, "HTTP 503"), BookProblem(11, 12, 1, "hang")])
    (joined,) = join_books([first], [later])
    assert len(joined.snapshots) == 2
    assert joined.problems == [BookProblem(1, 9, 5, "HTTP 503"), BookProblem(11, 12, 1, "hang")]


def test_problems_are_bounded_and_neighbours_with_one_reason_are_one() -> None:
    misses = Misses()
    assert not misses
    for number in range(5):
        misses.add(number, number + 1, "HTTP 503")
    assert misses and misses.within([(0, 1000)]) == [BookProblem(0, 5, 5, "HTTP 503")]
    for number in range(5, 105):
        misses.add(number, number + 1, f"reason {number}")
    problems = misses.within([(0, 1000)])
    assert len(problems) == PROBLEMS
    assert sum(problem.count for problem in problems) == 105


def test_problems_are_those_of_the_window_so_that_later_ones_do_not_change_its_archive() -> None:
    misses = Misses()
    for number in range(10):
        misses.add(number, number + 1, "HTTP 503")
    assert misses.within([(2, 4), (6, 9)]) == [BookProblem(2, 9, 5, "HTTP 503")]
    assert misses.within([(20, 30)]) == []


def test_books_reach_another_process_as_they_were() -> None:
    bids = OrderBook(bids=[(3.0, 1.0), (2.0, 7.0)], asks=[])
    books = [alpha(taken(3), taken(5, sequence=-1), snapshot_of("KITEUSDC", bids, 5, 6)), VenueBooks("beta", "spot")]
    pipe = io.BytesIO()
    send(pipe, Pass(5, books=books))
    pipe.seek(0)
    assert receive(pipe) == Pass(5, books=books)


def test_a_look_rewrites_the_files_for_new_books_alone(tmp_path: Path) -> None:
    def look(books: list[VenueBooks]) -> tuple[bool, int]:
        made = Pass(5, books=books, only_changes=True)
        archive = write_archive(tmp_path, SPAN, MARKET, CATALOGUE, [], [], made)
        return archive.kept, sum(len(venue.snapshots) for venue in read_books(archive.path))

    assert look([alpha(taken(3))]) == (False, 1)
    assert look([alpha(taken(3))]) == (True, 1)
    assert look([]) == (True, 1)
    assert look([alpha(taken(3), taken(5))]) == (False, 2)
    assert look([VenueBooks("alpha", "spot", [], [BookProblem(1, 2, 4, "HTTP 503")])]) == (False, 2)
    assert look([alpha(taken(5))]) == (True, 2)
