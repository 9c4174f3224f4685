"""The static files of the page."""

from __future__ import annotations

import gzip
import re

import falcon.testing

from pumpwatch.api.pages import read_pages


def test_every_file_is_there_by_its_name_and_the_first_page_by_a_slash() -> None:
    pages = read_pages()
    assert pages["/"] is pages["/index.html"]
    for path, page in pages.items():
        assert path.startswith("/") and ".." not in path
        assert not page.gzipped or gzip.decompress(page.gzipped) == page.content


def test_a_page_is_sent_as_it_is_or_gzipped_and_not_twice(client: falcon.testing.TestClient) -> None:
    page = read_pages()["/"]
    plain = client.simulate_get("/")
    assert plain.content == page.content and plain.headers["content-type"] == "text/html; charset=utf-8"
    assert client.simulate_get("/", headers={"If-None-Match": plain.headers["etag"]}).status_code == 304
    if page.gzipped:
        gzipped = client.simulate_get("/", headers={"Accept-Encoding": "gzip, br"})
        assert gzipped.headers["content-encoding"] == "gzip" and gzip.decompress(gzipped.content) == page.content


def test_the_policy_of_a_page_allows_nothing_inline_and_no_page_has_anything_inline(client: falcon.testing.TestClient) -> None:
    policy = client.simulate_get("/").headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    for path, page in read_pages().items():
        if path.endswith(".html"):
            text = page.content.decode()
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", text), path
