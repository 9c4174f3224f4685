"""Requests made from the OpenAPI file, by schemathesis, for a server that is running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import settings

from tests.api.desk import TOKEN
from tests.api.served import Served

EXAMPLES = str(settings().max_examples // 8)
CONFIG = """
[[operations]]
include-path = "/api/trades"
checks.positive_data_acceptance.enabled = false  # a time that ends before it begins, or ten years, fits the types all the same

[[operations]]
include-path = "/api/candles"
checks.positive_data_acceptance.enabled = false  # so it is here

[[operations]]
include-path = "/api/listings/drill"
checks.positive_data_acceptance.enabled = false  # a board that is not read fits the types all the same

[[operations]]
include-path = "/api/paper/runs"
include-method = "POST"
checks.positive_data_acceptance.enabled = false  # an archive that is not there does as well
"""


def test_every_described_request_gets_a_described_answer(served: Served, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    done = subprocess.run(
        [Path(sys.executable).parent / "schemathesis", "--config-file", tmp_path / "schemathesis.toml", "run",
         f"{served.url}/api/openapi.json", "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1",
         "--header", f"Authorization: Bearer {TOKEN}", "--generation-database", "none", "--no-color",
         "--exclude-path", "/api/stream"],  # it has no end
        cwd=tmp_path, env=os.environ | {"HYPOTHESIS_PROFILE": ""}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "generated" in done.stdout
    assert served.log() == ""
