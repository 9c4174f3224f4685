"""Figures of queries: percentiles over a whole phase in little room, and those of the last minutes."""

from __future__ import annotations

import msgspec

from pumpwatch.rollout.answers import PhaseAnswers, RecentQueries


def test_percentiles_are_within_two_percent_however_many_queries_there_are() -> None:
    answers = PhaseAnswers()
    for ms in range(1, 10_001):
        answers.add(float(ms))
    answers.add(None)
    assert (answers.queries, answers.failed, answers.mean_ms) == (10_001, 1, 5000.5)
    for share in (0.5, 0.99):
        assert share * 10_000 <= answers.percentile_ms(share) <= share * 10_000 * 1.03
    assert len(answers.bins) < 500
    again = msgspec.json.decode(msgspec.json.encode(answers), type=PhaseAnswers)
    assert again == answers


def test_without_a_query_there_is_nothing_to_judge() -> None:
    assert (PhaseAnswers().mean_ms, PhaseAnswers().percentile_ms(0.99), PhaseAnswers().different) == (0.0, 0.0, 0)
    assert (judged := RecentQueries(60.0).judged(5.0)).queries == 0 and judged.error_percent == judged.mean_ms == 0.0


def test_memory_is_noted_at_the_beginning_at_most_and_last() -> None:
    answers = PhaseAnswers()
    for rss in (100, 300, 200):
        answers.add_memory(rss)
    assert (answers.rss_first_bytes, answers.rss_most_bytes, answers.rss_last_bytes) == (100, 300, 200)


def test_only_the_queries_of_the_last_time_are_judged() -> None:
    lately = RecentQueries(60.0)
    for second in range(0, 100, 10):
        lately.add(float(second), None if second < 40 else second * 10.0)
    judged = lately.judged(95.0)
    assert (judged.queries, judged.error_percent, judged.mean_ms) == (6, 0.0, 650.0)
    lately.add(95.0, None)
    assert round(lately.judged(95.0).error_percent, 1) == 14.3
    lately.clear()
    assert lately.judged(95.0).queries == 0
