"""`/metrics` for Prometheus: the collector's metrics, read for each request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from pumpwatch.api.route import Answer, ApiCall, Route
from pumpwatch.ops.metric import Metric, Sample

Family = CounterMetricFamily | GaugeMetricFamily


class Exposition(Collector):
    """Converts samples for prometheus-client. They must be grouped by metric."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        """Yield each metric that has a value, with all its values."""
        family: Family | None = None
        metric: Metric | None = None
        for sample in self._samples:
            if sample.metric is not metric:
                if family is not None:
                    yield family
                metric = sample.metric
                kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = kind(metric.full_name, metric.meaning, labels=metric.labels)
            assert family is not None
            family.add_metric(sample.labels, sample.value)
        if family is not None:
            yield family


def exposition(samples: Iterable[Sample]) -> bytes:
    """Return samples in Prometheus's text format, without the library's own samples of this process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Exposition(samples))
    return generate_latest(registry)


def prometheus(call: ApiCall) -> Answer:
    """Return the current value of every metric."""
    return Answer(exposition(call.desk.samples()), CONTENT_TYPE_LATEST)


ROUTES = (
    Route("/metrics", prometheus, "The collector's metrics for Prometheus", media=("text/plain",)),
)
