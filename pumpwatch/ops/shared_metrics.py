"""The metrics of stores, of Redis, and of what several collectors share."""

from __future__ import annotations

from pumpwatch.ops.metric import counter, gauge
from pumpwatch.ops.metric_readings import Figures, Read, Reading, counted, field, gauged


def _roles(figures: Figures) -> Reading:
    return [((str(row.get("role", "")),), row["value"]) for row in figures.counters("cluster_role")]


def _stores(key: str) -> Read:
    def read(figures: Figures) -> Reading:
        for row in figures.status.get("stores", ()):
            if row.get(key) is not None:
                yield (row["store"],), float(row[key])
    return read


def _redis_calls(key: str) -> Read:
    def read(figures: Figures) -> Reading:
        return [((row["operation"],), float(row[key])) for row in (figures.status.get("redis") or {}).get("calls", ())]
    return read


def _redis_errors(figures: Figures) -> Reading:
    return [((kind,), float(count)) for kind, count in (figures.status.get("redis") or {}).get("errors", {}).items()]


def _redis_counts(key: str) -> Read:
    def read(figures: Figures) -> Reading:
        redis = figures.status.get("redis") or {}
        return [((), float(redis["counts"].get(key, 0)))] if redis else []
    return read


STORES = (
    gauge("store_up", "Is 1 while the store works, as far as is known.", _stores("works"), "store"),
    gauge("store_failed_in_a_row", "Tries to open it or to write that have failed since the last that went well.",
          _stores("failed_in_a_row"), "store"),
    gauge("store_size_bytes", "Its size: of files, of tables with their indexes, or of memory.", _stores("size_bytes"), "store"),
    gauge("store_parts", "Its segments, partitions, chunks, or masters.", _stores("parts"), "store"),
    gauge("store_compression_ratio", "Its size without compression by its size with it.", _stores("compression_ratio"), "store"),
    gauge("store_cache_hit_ratio", "The part of the reads that its memory answered.", _stores("cache_hit_ratio"), "store"),
    gauge("store_connections", "Connections to it that are open.", _stores("connections"), "store"),
    gauge("store_connections_busy", "Those that carry a call.", _stores("busy"), "store"),
)

REDIS = (
    gauge("redis_up", "Is 1 while every master of Redis answers.", field("redis", "up")),
    counter("redis_away_total", "Times that Redis or a master of it went away.", counted("redis_away_total")),
    counter("redis_calls_total", "Calls of Redis, by what they are for.", _redis_calls("total"), "operation"),
    counter("redis_call_seconds_total", "Time that these calls took.", _redis_calls("seconds"), "operation"),
    counter("redis_call_errors_total", "Calls that had no answer, by the reason; `away`: not tried.", _redis_errors, "kind"),
    counter("redis_hits_total", "Shared answers that Redis had.", _redis_counts("hits")),
    counter("redis_misses_total", "Those that it did not have.", _redis_counts("misses")),
    counter("redis_dropped_total", "Writes and messages that were not sent, or failed.", _redis_counts("dropped")),
    gauge("redis_busy_threads", "Threads that wait for Redis.", field("redis", "busy")),
    gauge("redis_threads", "Threads that may wait for Redis at once.", field("redis", "threads")),
    gauge("redis_queued_messages", "Writes and messages that wait to be sent.", field("redis", "queued")),
)

API = (
    counter("api_requests_total", "Requests to the API and the page.", counted("api_requests_total")),
    counter("api_limit_checks_total", "Requests that were counted by all collectors (`redis`) or by this one (`memory`), and "
            "times that Redis was `away`.", counted("api_limit_checks_total", "outcome"), "outcome"),
    counter("api_limited_total", "Requests that were one too many, by whom they are counted for.",
            counted("api_limited_total", "kind"), "kind"),
    counter("api_session_events_total", "Sessions begun, ended, known (`hit`) and not known (`miss`), and times that Redis was "
            "`away`.", counted("api_session_events_total", "outcome"), "outcome"),
    gauge("api_sessions", "Sessions that this collector remembers.", gauged("api_sessions")),
    counter("shared_budget_requests_total", "Requests to the venue, or its exchange, by the budget of the address: paid from a "
            "`slice` that was there, from one that was `asked` for, or while Redis was `away`; and those `denied` for now.",
            counted("shared_budget_requests_total", "venue", "outcome"), "venue", "outcome"),
    gauge("shared_budget_members", "Collectors at this address.", gauged("shared_budget_members")),
)

CLUSTER = (
    gauge("cluster_members", "Living members of the cluster, at the last beat.", gauged("cluster_members")),
    gauge("cluster_shards_held", "Parts of venues that this member reads by a lease.", gauged("cluster_shards_held")),
    gauge("cluster_role", "Is 1 while this member has the role.", _roles, "role"),
    gauge("cluster_last_beat_seconds", "Time since Redis answered a beat of this member.", field("cluster", "last_answer_s")),
    counter("cluster_takeovers_total", "Leases that nobody held and this member took.", counted("cluster_takeovers_total")),
    counter("cluster_handovers_total", "Leases that a living member handed over to this one.",
            counted("cluster_handovers_total")),
    counter("cluster_beats_failed_total", "Beats that Redis did not answer in time.", counted("cluster_beats_failed_total")),
    counter("cluster_fenced_writes_total", "Writes with an old token, which Redis rejected: another member had the lease by "
            "then.", counted("cluster_fenced_writes_total")),
    counter("cluster_news_total", "News of listings that other members told.", counted("cluster_news_total")),
    gauge("cluster_news_delay_seconds", "How long the last news of another member took, by the clocks of both.",
          gauged("cluster_news_delay_s")),
    counter("cluster_news_unreadable_total", "News that could not be read: another version may have told it.",
            counted("cluster_news_unreadable_total")),
    counter("cluster_news_rejected_total", "News that cannot be right.", counted("cluster_news_rejected_total")),
    counter("cluster_news_dropped_total", "News that waited for Redis and was dropped, as too much waited.",
            counted("cluster_news_dropped_total")),
)
