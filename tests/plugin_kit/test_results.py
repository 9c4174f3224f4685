"""One row a check: it fails, warns, or says what was checked."""

from __future__ import annotations

from pumpwatch.plugin_kit.results import Check, Problems, counted, failed, short


def test_a_failure_outweighs_a_warning_and_both_outweigh_the_good_word() -> None:
    problems = Problems("x.spot", "facts")
    assert problems.row("all of it") == Check("x.spot", "facts", "ok", "all of it")
    problems.should(False, "slow")
    assert problems.row("all of it") == Check("x.spot", "facts", "warn", "slow")
    problems.must(True, "not shown")
    problems.must(False, "wrong")
    assert problems.row("all of it") == Check("x.spot", "facts", "fail", "wrong")


def test_three_examples_are_shown_and_the_others_counted() -> None:
    problems = Problems("x.spot", "facts")
    for number in range(5):
        problems.must(False, f"wrong {number}")
    assert problems.row("").detail == "wrong 0; wrong 1; wrong 2 (and 2 more)"


def test_a_row_is_plain_data_with_stable_keys() -> None:
    rows = [Check("x.spot", "facts", "ok", "fine"), Check("x.spot", "order", "fail", "wrong")]
    assert rows[0].as_json() == {"of": "x.spot", "check": "facts", "state": "ok", "detail": "fine"}
    assert list(failed(rows)) == rows[1:]


def test_texts_are_shortened_and_counts_have_their_plural() -> None:
    assert short("x" * 80) == "x" * 80 and short(b"y" * 100, 5) == "yyyyy... (100 in all)"
    assert (counted(1, "row"), counted(3000, "row"), counted(2, "body", "bodies")) == ("1 row", "3,000 rows", "2 bodies")
