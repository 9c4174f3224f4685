"""Paper runs over HTTP: listed, read, and started by whoever has the token."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from pumpwatch.api.desk import Desk
from pumpwatch.api.paper_starts import PaperStarts
from tests.api.archived import archived
from tests.api.desk import TOKEN, client_of
from tests.paper.made_runs import keep, listing, run_of

HOLDER = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
RUNS = "/api/paper/runs"


def test_runs_are_listed_with_their_figures_and_read_one_by_one(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    assert client.simulate_get(RUNS).json == {"runs": [], "total": 0}
    keep(tmp_path, run_of(listing("SOMI", [1.5, None])))
    keep(tmp_path, run_of(listing("KITE", [2.0]), run_id="b2"))
    page = client.simulate_get(RUNS, query_string="limit=1").json
    assert page["total"] == 2 and len(page["runs"]) == 1
    found = client.simulate_get(f"{RUNS}/a1b2c3").json
    assert (found["run"]["coins"], found["run"]["size"]) == (["SOMI"], "1000")
    assert [(row["delay_ms"], row["median_percent"]) for row in found["run"]["summary"]["delays"]] == [(100, 1.5), (300, None)]


def test_every_file_of_a_run_can_be_got_as_it_is(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    folder = keep(tmp_path, run_of(listing("SOMI", [1.5])))
    files = client.simulate_get(f"{RUNS}/a1b2c3").json["files"]
    assert sorted(files) == ["heading.json", "result.json", "run.html"]
    for name, href in files.items():
        answer = client.simulate_get(href)
        assert answer.content == (folder / name).read_bytes() and int(answer.headers["content-length"]) == len(answer.content)
    headers = client.simulate_get(files["run.html"]).headers
    assert headers["content-security-policy"] == "sandbox allow-scripts; frame-ancestors 'self'"


@pytest.mark.parametrize("path", [f"{RUNS}/nope", f"{RUNS}/nope/files/run.html", f"{RUNS}/a1b2c3/files/strategy.py",
                                  f"{RUNS}/a1b2c3/files/..", "/api/paper/starts/nope"])
def test_what_is_not_there_is_not_found(client: falcon.testing.TestClient, tmp_path: Path, path: str) -> None:
    keep(tmp_path, run_of(listing("SOMI", [1.5])))
    assert client.simulate_get(path).status_code == 404


class Started(PaperStarts):
    """Starts that begin nothing, and remember with which arguments they would have."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.config, (sys.executable, "-c", "pass"))
        self.arguments: list[Any] = []

    def start(self, arguments: Any) -> Any:
        self.arguments.append(list(arguments))
        return super().start(arguments)


def test_a_run_is_started_by_whoever_has_the_token(desk: Desk, tmp_path: Path) -> None:
    archive = archived(tmp_path, "C0")
    starts = Started(desk)
    client = client_of(dataclasses.replace(desk, paper_starts=starts))
    body = {"archive": archive.name, "delays_ms": [100, 300], "size": 500}
    refused = client.simulate_post(RUNS, json=body, headers={"Content-Type": "application/json"})
    assert (refused.status_code, starts.arguments) == (401, [])
    answer = client.simulate_post(RUNS, json=body, headers=HOLDER)
    assert (answer.status_code, answer.json["state"]) == (202, "running")
    assert starts.arguments == [["--archive", str(archive), "--strategy", "buy_first", "--delay-ms", "100,300",
                                 "--size", "500.000000"]]
    assert client.simulate_get(f"/api/paper/starts/{answer.json['id']}").json["id"] == answer.json["id"]


@pytest.mark.parametrize(("body", "status", "said"), [
    ({}, 400, "the field archive is missing"),
    ({"archive": "../etc"}, 400, "archive"),
    ({"archive": "NOPE_20261121T100000Z"}, 422, "unknown archive"),
    ({"archive": "C0_1", "strategy": "/tmp/evil.py"}, 400, "strategy"),
    ({"archive": "C0_1", "strategy": "--all"}, 400, "strategy"),
    ({"archive": "C0_1", "delays_ms": []}, 400, "delays_ms"),
    ({"archive": "C0_1", "delays_ms": [-1]}, 400, "delays_ms"),
    ({"archive": "C0_1", "size": 1e30}, 400, "size"),
    ({"archive": "C0_1", "all": True}, 400, "all is not a field"),
])
def test_an_invalid_request_is_rejected_with_a_sentence(desk: Desk, body: dict[str, Any], status: int, said: str) -> None:
    starts = Started(desk)
    client = client_of(dataclasses.replace(desk, paper_starts=starts))
    answer = client.simulate_post(RUNS, json=body, headers=HOLDER)
    assert (answer.status_code, starts.arguments) == (status, []) and said in answer.json["detail"]


def test_a_run_is_not_started_where_none_can_be(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    assert client.simulate_post(RUNS, json={"archive": archived(tmp_path, "C0").name}, headers=HOLDER).status_code == 503
