"""The metrics of stores, of Redis, of the API, and of a cluster."""

from __future__ import annotations

from pumpwatch.ops.metric import counter, gauge
from pumpwatch.ops.metric_readings import MetricFigures, Read, Reading, counted, field, gauged


def _roles(figures: MetricFigures) -> Reading:
    return [((str(row.get("role", "")),), row["value"]) for row in figures.counters("cluster_role")]


def _stores(key: str) -> Read:
    def read(figures: MetricFigures) -> Reading:
        for row in figures.status.get("stores", ()):
            if row.get(key) is not None:
                yield (row["store"],), float(row[key])
    return read


def _redis_calls(key: str) -> Read:
    def read(figures: MetricFigures) -> Reading:
        return [((row["operation"],), float(row[key])) for row in (figures.status.get("redis") or {}).get("calls", ())]
    return read


def _redis_errors(figures: MetricFigures) -> Reading:
    return [((kind,), float(count)) for kind, count in (figures.status.get("redis") or {}).get("errors", {}).items()]


def _redis_counts(key: str) -> Read:
    def read(figures: MetricFigures) -> Reading:
        redis = figures.status.get("redis") or {}
        return [((), float(redis["counts"].get(key, 0)))] if redis else []
    return read


STORES = (
    gauge("store_up", "Is 1 while the store works, as far as is known.", _stores("works"), "store"),
    gauge("store_failed_in_a_row", "Failed tries to open it or to write since the last success.",
          _stores("failed_in_a_row"), "store"),
    gauge("store_size_bytes", "Its size: of files, of tables with their indexes, or of memory.", _stores("size_bytes"), "store"),
    gauge("store_parts", "Its segments, partitions, chunks, or masters.", _stores("parts"), "store"),
    gauge("store_compression_ratio", "Its uncompressed size divided by its compressed size.", _stores("compression_ratio"),
          "store"),
    gauge("store_cache_hit_ratio", "Share of the reads that its memory answered.", _stores("cache_hit_ratio"), "store"),
    gauge("store_connections", "Open connections to it.", _stores("connections"), "store"),
    gauge("store_connections_busy", "Open connections with a running call.", _stores("busy"), "store"),
)

REDIS = (
    gauge("redis_up", "Is 1 while every master of Redis answers.", field("redis", "up")),
    counter("redis_away_total", "Times that Redis or one of its masters stopped answering.", counted("redis_away_total")),
    counter("redis_calls_total", "Calls of Redis, by purpose.", _redis_calls("total"), "operation"),
    counter("redis_call_seconds_total", "Time that these calls took.", _redis_calls("seconds"), "operation"),
    counter("redis_call_errors_total", "Calls without an answer, by reason; `away`: not tried.", _redis_errors, "kind"),
    counter("redis_hits_total", "Shared answers that were in Redis.", _redis_counts("hits")),
    counter("redis_misses_total", "Shared answers that were not in Redis.", _redis_counts("misses")),
    counter("redis_dropped_total", "Writes and messages that were not sent, or failed.", _redis_counts("dropped")),
    gauge("redis_busy_threads", "Threads that wait for Redis.", field("redis", "busy")),
    gauge("redis_threads", "Threads that may wait for Redis at once.", field("redis", "threads")),
    gauge("redis_queued_messages", "Writes and messages that wait to be sent.", field("redis", "queued")),
)

API = (
    counter("api_requests_total", "Requests to the API and the page.", counted("api_requests_total")),
    counter("api_limit_checks_total", "Requests counted by all collectors together (`redis`) or by this one (`memory`), and "
            "times that Redis was `away`.", counted("api_limit_checks_total", "outcome"), "outcome"),
    counter("api_limited_total", "Requests rejected by a rate limit, by the kind of the limit.",
            counted("api_limited_total", "kind"), "kind"),
    counter("api_session_events_total", "Sessions begun, ended, known (`hit`) and not known (`miss`), and times that Redis was "
            "`away`.", counted("api_session_events_total", "outcome"), "outcome"),
    gauge("api_sessions", "Sessions in this collector's memory.", gauged("api_sessions")),
    counter("shared_budget_requests_total", "Requests to the venue or its exchange from the address's budget: from a `slice` at "
            "hand, from a slice that was `asked` for, while Redis was `away`, or `denied` for now.",
            counted("shared_budget_requests_total", "venue", "outcome"), "venue", "outcome"),
    gauge("shared_budget_members", "Collectors at this address.", gauged("shared_budget_members")),
)

CLUSTER = (
    gauge("cluster_members", "Living members of the cluster, at the last beat.", gauged("cluster_members")),
    gauge("cluster_shards_held", "Parts of venues that this member reads by a lease.", gauged("cluster_shards_held")),
    gauge("cluster_role", "Is 1 while this member has the role.", _roles, "role"),
    gauge("cluster_last_beat_seconds", "Time since Redis answered a beat of this member.", field("cluster", "last_answer_s")),
    counter("cluster_takeovers_total", "Free leases that this member took.", counted("cluster_takeovers_total")),
    counter("cluster_handovers_total", "Leases that a living member handed over to this one.",
            counted("cluster_handovers_total")),
    counter("cluster_beats_failed_total", "Beats that Redis did not answer in time.", counted("cluster_beats_failed_total")),
    counter("cluster_fenced_writes_total", "Writes with an old token, which Redis rejected: another member had the lease by "
            "then.", counted("cluster_fenced_writes_total")),
    counter("cluster_news_total", "News of listings from other members.", counted("cluster_news_total")),
    gauge("cluster_news_delay_seconds", "Delay of the last news from another member, by the clocks of both.",
          gauged("cluster_news_delay_s")),
    counter("cluster_news_unreadable_total", "News that could not be read; another version may have sent it.",
            counted("cluster_news_unreadable_total")),
    counter("cluster_news_rejected_total", "News with impossible content.", counted("cluster_news_rejected_total")),
    counter("cluster_news_dropped_total", "News that was dropped because too much waited for Redis.",
            counted("cluster_news_dropped_total")),
)
