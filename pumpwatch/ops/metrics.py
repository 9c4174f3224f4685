"""The table of all metrics, from which `/metrics`, docs/metrics.md and the alerts are generated.

A name ends in its unit, that of a counter in `_total`. Labels have few values: venues, sinks, sources, channels, jobs and states,
but not symbols. Values are read from the collector's figures on request; nothing is counted only for a metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pumpwatch.ops.metric import Metric, Sample, counter, gauge
from pumpwatch.ops.metric_readings import Labels, MetricFigures, Read, Reading, counted, field, gauged, jobs, judged, rows
from pumpwatch.ops.shared_metrics import API, CLUSTER, REDIS, STORES

MS, NS = 1e-3, 1e-9  # in seconds
STATES = ("open", "filled", "lost")
SEVERITIES = ("info", "warning", "critical")


def _version(figures: MetricFigures) -> Reading:
    return [((str(figures.status.get("version", "")),), 1.0)]


def _gaps(figures: MetricFigures) -> Reading:
    if not figures.status.get("backfill", {}).get("looked"):
        return  # the ledger was not read yet
    for row in figures.status.get("venues", ()):
        for state in STATES:
            yield (figures.name_of("venue", row), state), float(row.get(f"gaps_{state}", 0))


def _gaps_recorded(figures: MetricFigures) -> Reading:
    found = {(venue, state): 0.0 for venue in figures.known("venue") for state in STATES}
    for row in figures.counters("gaps_total"):
        found[row["venue"], row["state"]] = row["value"]
    return found.items()


def _source_up(figures: MetricFigures) -> Reading:
    return [((name,), float(row["up"])) for name, row in figures.sources().items() if row["up"] is not None]


def _backup_failed(figures: MetricFigures) -> Reading:
    backup = figures.status.get("backup") or {}
    known = backup.get("last_error") or backup.get("last_ok_ns")
    return [((), float(bool(backup["last_error"])))] if known else []


def _market_up(figures: MetricFigures) -> Reading:
    market = figures.status.get("market") or {}
    return [((), float(bool(market["pid"])))] if market.get("enabled") else []


def _caches(key: str) -> Read:
    def read(figures: MetricFigures) -> Reading:
        for name, row in (figures.status.get("market") or {}).get("caches", {}).items():
            yield (name,), float(row[key])
    return read


def _windows(key: str) -> Read:
    def read(figures: MetricFigures) -> Reading:
        windows = (figures.status.get("listing") or {}).get("windows")
        return [((), float(windows[key]))] if windows else []
    return read


def _alerts(figures: MetricFigures) -> Reading:
    standing = [row["severity"] for row in figures.status.get("active_alerts", ())]
    return [((severity,), float(standing.count(severity))) for severity in SEVERITIES]


def _sink_calls(key: str) -> Read:
    def read(figures: MetricFigures) -> Reading:
        for sink in figures.status.get("sinks", ()):
            for row in sink.get("calls", ()):
                yield (sink["name"], row["operation"]), float(row[key])
    return read


def _sink_errors(figures: MetricFigures) -> Reading:
    for sink in figures.status.get("sinks", ()):
        for row in sink.get("calls", ()):
            for kind, count in row["errors"].items():
                yield (sink["name"], row["operation"], kind), float(count)


def _sink_works(row: Mapping[str, Any]) -> bool:
    state = str(row.get("state", ""))
    return state in ("up", "starting") or state.startswith("refilling")


def _sink_suspended(row: Mapping[str, Any]) -> bool:
    return not _sink_works(row) and row.get("state") != "down"


PROCESS = (
    gauge("build_info", "Is 1, with the version as its label.", _version, "version"),
    gauge("start_timestamp_seconds", "The time at which this run began.", field("started_at_ns", factor=NS)),
    counter("cpu_seconds_total", "CPU time of the process.", field("cpu_s")),
    gauge("resident_memory_bytes", "Memory that the process holds.", field("memory", "rss_bytes")),
    gauge("memory_limit_bytes", "Memory limit of the process, see memory.limit_mb.", field("memory", "limit_bytes")),
    gauge("memory_used_ratio", "Resident memory divided by that limit.", field("memory", "used_ratio")),
    gauge("open_files", "Open file descriptors.", field("files", "open")),
    gauge("open_files_limit", "Limit of open file descriptors.", field("files", "limit")),
    gauge("clock_offset_seconds", "Our clock minus the clocks of the servers that answered last, by their Date headers; good to "
          "about half a second.", field("clock_offset_s")),
    counter("clock_steps_total", "Steps of this machine's clock.", counted("clock_steps_total")),
    counter("part_restarts_total", "Greenlets that failed and were restarted.", counted("restarts_total")),
    counter("figures_not_written_total", "Times that status.json could not be written.", counted("figures_not_written_total")),
    gauge("disk_size_bytes", "Size of the disk of store.dir.", field("disk", "total_bytes")),
    gauge("disk_free_bytes", "Room on that disk for an ordinary user.", field("disk", "free_bytes")),
    gauge("disk_used_ratio", "Used share of that disk.", field("disk", "used_share")),
    gauge("alerts", "Active alerts, by severity.", _alerts, "severity"),
)

VENUES = (
    counter("trades_total", "Trades that were read.", rows("venue", "trades_total"), "venue"),
    counter("frames_total", "Frames that were read.", counted("frames_total", "venue"), "venue"),
    gauge("venue_silent_seconds", "Time since the last trade was read.", rows("venue", "silent_s"), "venue"),
    gauge("venue_lag_seconds", "Usual time between a trade and its arrival.", rows("venue", "lag_ms", MS), "venue"),
    gauge("venue_connections", "Connections that should be up.", rows("venue", "connections"), "venue"),
    gauge("venue_connections_up", "Connections that are up.", rows("venue", "connections_up"), "venue"),
    gauge("venue_down_seconds", "For how long the longest connection has been down.", rows("venue", "down_s"), "venue"),
    gauge("venue_symbols", "Symbols that should be read.", rows("venue", "instruments"), "venue"),
    gauge("venue_symbols_subscribed", "Symbols that the venue has granted.", rows("venue", "subscribed"), "venue"),
    gauge("venue_symbols_rejected", "Symbols that the venue rejects.", rows("venue", "refused"), "venue"),
    gauge("venue_symbols_silent", "Symbols that are subscribed and send nothing though they trade.", rows("venue", "silent"),
          "venue"),
    gauge("venue_list_up", "Is 0 while the list of instruments cannot be relied on.",
          judged("venue", lambda row: not row.get("list_problem")), "venue"),
    counter("connect_failures_total", "Connections that could not be opened.",
            counted("connect_failures_total", "venue"), "venue"),
    counter("disconnects_total", "Connections that were lost.", counted("disconnects_total", "venue"), "venue"),
    counter("renewal_failures_total", "Replacements of a connection that failed.", counted("renewal_failures_total", "venue"),
            "venue"),
    counter("silent_connections_total", "Connections that were replaced because they sent nothing.",
            counted("silent_connections_total", "venue"), "venue"),
    counter("list_failures_total", "Requests for the list of instruments that failed.",
            counted("instrument_list_failures_total", "venue"), "venue"),
    counter("doubled_trades_total", "Trades that came a second time and were dropped.", counted("doubled_trades_total", "venue"),
            "venue"),
    counter("quarantined_frames_total", "Frames that could not be parsed.",
            counted("quarantined_frames_total", "venue"), "venue"),
    counter("held_back_total", "Times that reading paused because frames had piled up.", counted("net_held_back_total", "venue"),
            "venue"),
    gauge("gaps", "Gaps in the ledger, by state.", _gaps, "venue", "state"),
    counter("gaps_recorded_total", "Gaps that this run has recorded, by state.", _gaps_recorded, "venue", "state"),
    gauge("backfill_left_symbols", "Symbols of gaps that the backfill has not finished.", field("backfill", "left")),
    gauge("backfill_left_seconds", "Estimated time until the backfill has finished them.", field("backfill", "left_s")),
    counter("backfilled_trades_total", "Missing trades that were fetched.",
            counted("backfilled_trades_total", "venue"), "venue"),
    counter("history_requests_total", "Requests for history.", counted("history_requests_total", "venue"), "venue"),
    counter("history_failures_total", "Requests for history that failed.", counted("history_failures_total", "venue"), "venue"),
    counter("history_conflicts_total", "Trades of the history that contradict stored ones.",
            counted("history_conflicts_total", "venue"), "venue"),
)

STORE = (
    gauge("journal_size_bytes", "Size of the journal.", field("journal", "bytes")),
    gauge("journal_backlog_trades", "Trades that are only in memory.", field("journal", "backlog_trades")),
    gauge("journal_backlog_seconds", "Waiting time of the oldest of them.", field("journal", "oldest_waiting_s")),
    counter("journal_commits_total", "Commits.", field("journal", "commits")),
    counter("durable_trades_total", "Trades that are durable.", field("journal", "durable_trades")),
    gauge("durable_p50_seconds", "Median time from a frame's arrival until its trades are durable.",
          field("journal", "durable_ms_p50", MS)),
    gauge("durable_p99_seconds", "The 99th percentile of that time.", field("journal", "durable_ms_p99", MS)),
    gauge("last_commit_timestamp_seconds", "The time of the last commit.", gauged("last_commit_ns", NS)),
    counter("dropped_trades_total", "Trades that the disk did not accept; gaps name them.", field("journal", "dropped_trades")),
    counter("journal_refusals_total", "Commits that failed and were tried again.", counted("journal_refusals_total")),
    counter("journal_damage_total", "Damaged places of the journal that were found.", counted("journal_damage_total")),
    counter("journal_expired_segments_total", "Segments that retention has removed.", counted("journal_expired_segments_total")),
    counter("ledger_refusals_total", "Writes of the ledger that failed and were tried again.", counted("ledger_refusals_total")),
    gauge("recent_trades", "Trades in memory for queries.", field("recent", "trades")),
    gauge("recent_bytes", "Memory of these trades.", field("recent", "bytes")),
    gauge("sink_up", "Is 1 while the sink accepts trades.", judged("sink", _sink_works), "sink"),
    gauge("sink_suspended", "Is 1 while the sink has a problem that a person must solve, such as a suspended table.",
          judged("sink", _sink_suspended), "sink"),
    gauge("sink_backlog_trades", "Durable trades that the sink has not received yet.", rows("sink", "backlog_trades"), "sink"),
    counter("sink_rows_total", "Trades that the sink has accepted.", counted("sink_rows_total", "sink"), "sink"),
    counter("sink_writes_total", "Batches that the sink has accepted.", counted("sink_writes_total", "sink"), "sink"),
    counter("sink_write_seconds_total", "Time that these writes took.", counted("sink_write_seconds_total", "sink"), "sink"),
    counter("sink_calls_total", "Calls of the sink's methods.", _sink_calls("total"), "sink", "operation"),
    counter("sink_call_seconds_total", "Time that these calls took.", _sink_calls("seconds"), "sink", "operation"),
    gauge("sink_running_calls", "Calls that are running.", _sink_calls("running"), "sink", "operation"),
    counter("sink_call_errors_total", "Calls that failed, by the class of the error.", _sink_errors, "sink", "operation",
            "kind"),
    counter("sink_rejected_rows_total", "Trades that the sink has rejected; the quarantine has them.",
            counted("sink_refused_total", "sink"), "sink"),
    counter("queries_total", "Queries of trades that this process has answered.", field("queries", "total")),
    counter("queries_failed_total", "Queries in which a store did not answer.", field("queries", "failed")),
    counter("queries_slow_total", "Queries that took longer than log.slow_query_ms.", field("queries", "slow")),
    counter("query_seconds_total", "Time that all queries took.", field("queries", "seconds")),
    gauge("query_mean_seconds", "Mean time of a query.", field("queries", "mean_ms", MS)),
    gauge("query_p99_seconds", "The 99th percentile of the time of a query.", field("queries", "p99_ms", MS)),
    gauge("query_memory_ratio", "Share of the queries that memory alone answered.", field("queries", "memory_ratio")),
)

LISTINGS = (
    gauge("listing_source_up", "Is 1 while the listing source answers.", _source_up, "source"),
    counter("listing_polls_total", "Requests to the source, by outcome.", counted("listing_polls_total", "source", "outcome"),
            "source", "outcome"),
    counter("listing_notices_total", "New notices of the source.", counted("listing_notices_total", "source"), "source"),
    counter("listing_detected_total", "Listings that the source was the first to show.",
            counted("listing_detected_total", "source"), "source"),
    counter("listing_rejected_rows_total", "Rows of the source that were rejected.", counted("listing_rejected_total", "source"),
            "source"),
    gauge("listing_windows_open", "Windows that are open.", _windows("open")),
    gauge("listing_windows_not_final", "Windows whose archive is not final.", _windows("not_final")),
    counter("listing_archives_total", "Archives that were written.", counted("listing_archives_total")),
    counter("listing_problems_total", "Archives that could not be written.", counted("listing_problems_total")),
    gauge("notify_up", "Is 0 while the channel does not accept messages.", rows("channel", "up"), "channel"),
    counter("notify_sent_total", "Messages that the channel has accepted.", rows("channel", "sent"), "channel"),
    counter("notify_failed_total", "Tries that failed.", rows("channel", "failed"), "channel"),
    counter("notify_given_up_total", "Messages that were given up.", rows("channel", "given_up"), "channel"),
    gauge("notify_waiting_messages", "Messages that wait for their next try.", rows("channel", "waiting"), "channel"),
)

JOBS = (
    counter("job_runs_total", "Runs that have ended, with an error or without.", jobs("runs"), "job"),
    counter("job_failures_total", "Runs that ended with an error.", jobs("errors"), "job"),
    counter("job_skipped_total", "Runs that were skipped because the previous run had not ended.", jobs("skipped"), "job"),
    gauge("job_duration_seconds", "Duration of the last run.", jobs("took_s"), "job"),
    gauge("job_overdue_seconds", "Time since the end of the last run beyond the job's interval.", jobs("overdue_s"), "job"),
    gauge("backup_failed", "Is 1 after a failed backup until the next success; absent before the first.",
          _backup_failed),
)

MARKET = (
    gauge("market_process_up", "Is 1 while the process that makes candles runs.", _market_up),
    counter("market_process_starts_total", "Starts of that process.", field("market", "starts")),
    counter("market_cache_hits_total", "Requests that the cache answered.", _caches("hits"), "cache"),
    counter("market_cache_misses_total", "Requests that the cache could not answer.", _caches("misses"), "cache"),
    counter("market_cache_hit_age_seconds_total", "Sum of the ages of the cache's answers.",
            _caches("hit_age_s"), "cache"),
    gauge("market_cache_entries", "Entries of the cache.", _caches("entries"), "cache"),
    gauge("market_cache_bytes", "Size of the entries.", _caches("bytes"), "cache"),
    counter("market_cache_evictions_total", "Entries that were removed to make room.", _caches("evictions"), "cache"),
)

PARTS: dict[str, tuple[Metric, ...]] = {
    "The process and its machine": PROCESS, "Venues, gaps and backfill": VENUES, "Journal, memory, sinks and queries": STORE,
    "Stores": STORES, "Listings and messages": LISTINGS, "Market data": MARKET, "Redis": REDIS, "Cluster": CLUSTER,
    "Jobs": JOBS, "The API and shared budgets": API}
METRICS: tuple[Metric, ...] = tuple(metric for part in PARTS.values() for metric in part)
BY_NAME: dict[str, Metric] = {metric.full_name: metric for metric in METRICS}


class Metrics:
    """Reads the metrics of one collector. A counter never decreases, even if a counted trade proves to be a double."""

    def __init__(self) -> None:
        self._highest: dict[tuple[str, Labels], float] = {}

    def read(self, status: Mapping[str, Any]) -> Iterator[Sample]:
        """Yield the samples of these figures, metric by metric in the order of METRICS."""
        figures = MetricFigures(status)
        for metric in METRICS:
            for labels, value in metric.read(figures):
                if metric.kind == "counter":
                    key = metric.name, labels
                    value = self._highest[key] = max(value, self._highest.get(key, 0.0))
                yield Sample(metric, labels, value)
