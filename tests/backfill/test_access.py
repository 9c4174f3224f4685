"""The real parts of a collector are what the stage expects of them."""

from __future__ import annotations

import inspect

from pumpwatch.backfill.access import BackfillPipeline, GapLedger
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.store.ledger import Ledger


def test_the_pipeline_and_the_ledger_have_the_methods_that_the_stage_calls() -> None:
    for wanted, real in ((BackfillPipeline, Ingest), (GapLedger, Ledger)):
        for name, method in vars(wanted).items():
            if not name.startswith("_") and inspect.isfunction(method):
                assert inspect.signature(method).parameters.keys() == inspect.signature(getattr(real, name)).parameters.keys()
