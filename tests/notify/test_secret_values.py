"""Secrets come from the environment or a file, and are shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.errors import EXIT_CONFIG, ConfigError
from pumpwatch.notify.secret_values import hidden, is_literal, secret_value

TOKEN = "123456:ABC-def"


def test_variables_and_files_are_put_in(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert secret_value("tgram://${TOKEN}/${CHAT}", "k", tmp_path, {"TOKEN": TOKEN, "CHAT": "-100"}) == f"tgram://{TOKEN}/-100"
    assert secret_value("file:token", "k", tmp_path, {}) == TOKEN
    assert secret_value(f"file:{tmp_path}/token", "k", Path("/"), {}) == TOKEN
    assert secret_value("${TOKEN}", "k", tmp_path, {"TOKEN": "${OTHER}"}) == "${OTHER}"  # a secret is not read as a template


def test_a_secret_that_is_not_there_is_an_error_that_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "lines").write_text("SECRET1\nSECRET2\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for text, words in (("${NONE}", "NONE is not set"), ("file:none", "cannot read"), ("file:empty", "one line"),
                        ("file:lines", "one line"), ("file:binary", "UTF-8"), ("file:.", "cannot read")):
        with pytest.raises(ConfigError, match=f"^c.yaml: notify.x.url: .*{words}") as caught:
            secret_value(text, "c.yaml: notify.x.url", tmp_path, {"NONE": ""})
        assert caught.value.exit_code == EXIT_CONFIG and "SECRET" not in str(caught.value)


def test_every_piece_of_a_secret_is_hidden() -> None:
    said = f"HTTPSConnectionPool(host='api.telegram.org'): Max retries exceeded with url: /bot{TOKEN}/sendMessage, 123456 ABC-def"
    shown = hidden(said, [f"tgram://{TOKEN}/-1001234", "hush"])
    assert "ABC-def" not in shown and "123456" not in shown and "api.telegram.org" in shown
    assert hidden("url: /p%C3%A4ss%20w0rd and päss w0rd", ["json://me:päss%20w0rd@host/"]) == "url: /*** and *** ***"
    assert hidden("key hush-hush", ["hush"]) == "key ***-***"


def test_a_literal_is_what_neither_a_variable_nor_a_file_holds() -> None:
    assert is_literal("tgram://abc/1") and not is_literal("") and not is_literal("tgram://${T}/1") and not is_literal("file:x")
