"""The section `api`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.config import load
from pumpwatch.errors import ConfigError


@pytest.mark.parametrize(("text", "listen"), [
    ("", "127.0.0.1:8321"), ("api:\n  listen: off", False), ('api:\n  listen: ""', ""), ("api:\n  listen: '[::1]:9'", "[::1]:9")])
def test_the_address_has_a_default_and_can_be_off(tmp_path: Path, text: str, listen: object) -> None:
    (tmp_path / "c.yaml").write_text(f"# a config\n{text}\n")
    assert load(tmp_path / "c.yaml", {}).api.listen == listen


def test_the_token_comes_from_the_environment_and_files_count_from_the_config(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("api:\n  tls_cert_file: cert.pem\n")
    config = load(tmp_path / "c.yaml", {"PUMPWATCH_API__TOKEN": "0123456789abcdef"})
    assert config.api.token == "0123456789abcdef" and config.api.tls_cert_file == str(tmp_path / "cert.pem")


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("api:\n  lisen: off\n")
    with pytest.raises(ConfigError, match=r"unknown key `api\.lisen`"):
        load(tmp_path / "c.yaml", {})
