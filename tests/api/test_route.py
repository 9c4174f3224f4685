"""The words of errors."""

from __future__ import annotations

import json

import pytest

from pumpwatch.api.route import problem_json, title_of


@pytest.mark.parametrize(("status", "title"), [(404, "Not Found"), (413, "Content Too Large"), (421, "Misdirected Request"),
                                               (431, "Request Header Fields Too Large")])
def test_a_problem_names_its_status_and_says_why(status: int, title: str) -> None:
    assert title_of(status) == title
    assert json.loads(problem_json(status, "because")) == {
        "type": "about:blank", "title": title, "status": status, "detail": "because"}
