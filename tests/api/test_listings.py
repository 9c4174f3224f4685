"""Listings, the files of their archives, and the drill."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import falcon.testing
import pytest

from tests.api.archived import archived
from tests.api.desk import TOKEN

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def test_listings_come_the_newest_first_a_page_at_a_time(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    archived(tmp_path, "C0")
    archived(tmp_path, "C1")
    page = client.simulate_get("/api/listings", query_string="limit=1").json
    assert page["total"] == 2 and [row["coin"] for row in page["listings"]] == ["C1"]
    assert [row["coin"] for row in client.simulate_get("/api/listings", query_string="offset=1").json["listings"]] == ["C0"]


def test_every_file_of_an_archive_can_be_got_as_it_is(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    archive = archived(tmp_path, "C0")
    (found,) = client.simulate_get("/api/listings/upbit:C0-1").json["listings"]
    assert found["listing"]["archive"] == archive.name and found["analysis"]["listings"]
    assert {"chart.html", "refined/pump_analysis.json"} <= {row["name"] for row in found["files"]}
    for row in found["files"]:
        answer = client.simulate_get(row["href"])
        assert answer.status_code == 200 and hashlib.sha256(answer.content).hexdigest() == row["sha256"]
        assert int(answer.headers["content-length"]) == row["bytes"]
    assert client.simulate_get("/api/listings/C0/files/manifest.json").json["coin"] == "C0"


def test_a_chart_runs_its_scripts_where_it_cannot_call_the_api(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    archived(tmp_path, "C0")
    headers = client.simulate_get("/api/listings/C0/files/chart.html").headers
    assert headers["content-type"] == "text/html; charset=utf-8" and headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "sandbox allow-scripts; frame-ancestors 'self'"


@pytest.mark.parametrize("name", ["../C1/manifest.json", "..", "ledger.sqlite", "raw", "/etc/passwd", "....//manifest.json",
                                  "raw/../manifest.json", "link.json"])
def test_no_other_file_can_be_got(client: falcon.testing.TestClient, tmp_path: Path, name: str) -> None:
    archive = archived(tmp_path, "C0")
    (archive / "link.json").symlink_to("/etc/passwd")
    assert client.simulate_get(f"/api/listings/C0/files/{name}").status_code == 404


def test_a_file_that_a_damaged_manifest_names_outside_its_archive_cannot_be_got(
        client: falcon.testing.TestClient, tmp_path: Path) -> None:
    archive = archived(tmp_path, "C0")
    (tmp_path / "secret").write_text("secret")
    (archive / "link.json").symlink_to(tmp_path / "secret")
    manifest = json.loads((archive / "manifest.json").read_text())
    manifest["files"] |= {name: {"bytes": 6, "sha256": ""} for name in ("../secret", "link.json")}
    (archive / "manifest.json").write_text(json.dumps(manifest))
    for name in ("../secret", "link.json"):
        assert client.simulate_get(f"/api/listings/C0/files/{name}").status_code == 404


def test_an_unknown_listing_is_not_found(client: falcon.testing.TestClient) -> None:
    for path in ("/api/listings/NOPE", "/api/listings/NOPE/files/manifest.json"):
        assert client.simulate_get(path).status_code == 404


def test_a_drill_is_dropped_as_the_command_drops_it(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    answer = client.simulate_post("/api/listings/drill", headers=AUTHORIZED,
                                  json={"coin": "c0", "source": "upbit", "delay_s": 2.5})
    assert answer.status_code == 202 and answer.json["symbol"] == "C0" and answer.json["source"] == "upbit"
    (file,) = tmp_path.glob("inbox/*.json")
    assert json.loads(file.read_text())["notice_id"] == answer.json["notice_id"]


def test_a_drill_of_an_unknown_board_is_refused(client: falcon.testing.TestClient, tmp_path: Path) -> None:
    answer = client.simulate_post("/api/listings/drill", json={"coin": "C0", "source": "nasdaq"}, headers=AUTHORIZED)
    assert answer.status_code == 422 and "nasdaq" in answer.json["detail"]
    assert not list(tmp_path.glob("inbox/*"))
