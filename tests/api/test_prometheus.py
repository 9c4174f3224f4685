"""`/metrics` is text that Prometheus reads: every metric that has a value, and nothing else."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from pumpwatch.api.prometheus import exposition
from pumpwatch.ops.metrics import BY_NAME, Metrics
from tests.ops.figures import figures
from tests.ops.promtool import promtool


def test_every_sample_is_in_the_text_with_its_kind_labels_and_meaning() -> None:
    samples = list(Metrics().read(figures()))
    text = exposition(samples).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {metric.full_name.removesuffix("_total") for metric in BY_NAME.values()
            if metric.name in {sample.metric.name for sample in samples}} == {name.removesuffix("_total") for name in families}
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
             for family in families.values() for sample in family.samples}
    assert found == {(sample.metric.full_name, tuple(sorted(sample.named().items()))): sample.value for sample in samples}
    for family in families.values():
        metric = BY_NAME.get(family.name) or BY_NAME[f"{family.name}_total"]
        assert (family.type, family.documentation) == (metric.kind, metric.meaning)


def test_promtool_finds_nothing_to_say_about_the_text(tmp_path: Path) -> None:
    (tmp_path / "metrics.txt").write_bytes(exposition(Metrics().read(figures())))
    checked = promtool("check", "metrics", folder=tmp_path, stdin=tmp_path / "metrics.txt")
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_label_with_odd_characters_is_escaped() -> None:
    odd = figures(notify=[{"name": 'a"b\\\n', "up": True, "sent": 0, "failed": 0, "given_up": 0, "waiting": 0}])
    families = text_string_to_metric_families(exposition(Metrics().read(odd)).decode())
    labels = [sample.labels for family in families if family.name == "pumpwatch_notify_up" for sample in family.samples]
    assert labels == [{"channel": 'a"b\\\n'}]
