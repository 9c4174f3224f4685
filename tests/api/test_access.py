"""Addresses at which the API may listen."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from pumpwatch.api.access import access_of, url_of
from pumpwatch.config import Config
from pumpwatch.config_api import ApiConfig
from pumpwatch.errors import EXIT_CONFIG, ConfigError

TOKEN = "0123456789abcdef"


def config(**api: object) -> Config:
    return Config(api=ApiConfig(**api))  # type: ignore[arg-type]


@pytest.mark.parametrize("listen", ["", "off", False])
def test_it_can_be_off(listen: str | bool) -> None:
    assert access_of(config(listen=listen)) is None


@pytest.mark.parametrize(("listen", "url"), [
    ("127.0.0.1:8321", "http://127.0.0.1:8321/"), ("localhost:80", "http://localhost:80/"), ("[::1]:8321", "http://[::1]:8321/")])
def test_this_machine_alone_needs_nothing(listen: str, url: str) -> None:
    access = access_of(config(listen=listen))
    assert access is not None and access.url == url
    assert not access.every_request and access.tls is None


@pytest.mark.parametrize("listen", ["0.0.0.0:8321", "[::]:8321", "192.168.1.7:8321"])
@pytest.mark.parametrize("options", [{}, {"token": TOKEN}, {"plain_http": True}])
def test_an_address_that_others_reach_is_refused_without_a_token_and_a_word(listen: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="other machines can reach") as caught:
        access_of(config(listen=listen, **options))
    assert caught.value.exit_code == EXIT_CONFIG


def test_with_a_token_and_a_word_it_may_be_reached_and_every_request_needs_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    for options in ({"token": TOKEN}, {"token_file": str(tmp_path / "token")}):
        access = access_of(config(listen="0.0.0.0:8321", plain_http=True, **options))
        assert access is not None and access.every_request and access.token == TOKEN


def test_behind_tls_it_may_be_reached(tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("collector.example.org")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = {"tls_cert_file": str(tmp_path / "cert.pem"), "tls_key_file": str(tmp_path / "key.pem")}
    access = access_of(config(listen="0.0.0.0:8321", **files))
    assert access is not None and access.tls is not None and access.url == "https://0.0.0.0:8321/"
    with pytest.raises(ConfigError, match=r"api\.tls_cert_file: the certificate and key cannot be used"):
        access_of(config(tls_cert_file=files["tls_key_file"], tls_key_file=files["tls_cert_file"]))
    with pytest.raises(ConfigError, match="tls_key_file is set without a certificate"):
        access_of(config(tls_key_file=files["tls_key_file"]))


@pytest.mark.parametrize("listen", [True, "8321", "example.org:80", "127.0.0.1", "127.0.0.1:99999", "1.2.3:80", "127.0.0.1:80/x"])
def test_an_invalid_address_is_named(listen: str | bool) -> None:
    with pytest.raises(ConfigError, match=r"api\.listen: not an address and a port"):
        access_of(config(listen=listen))


@pytest.mark.parametrize("token", ["short", "with a space 0123456", "ü" * 20, "x" * 600, "tab\t0123456789abcdef"])
def test_a_token_must_be_a_secret_that_a_header_can_hold(token: str) -> None:
    with pytest.raises(ConfigError, match=r"api\.token: a token is 16 to 512"):
        access_of(config(token=token))


def test_a_token_may_be_a_variable_and_its_name_is_never_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"api\.token: the environment variable PUMPWATCH_TOKEN is not set"):
        access_of(config(token="${PUMPWATCH_TOKEN}"))
    monkeypatch.setenv("PUMPWATCH_TOKEN", TOKEN)
    access = access_of(config(token="${PUMPWATCH_TOKEN}"))
    assert access is not None and access.token == TOKEN


def test_a_token_file_must_be_there_and_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"api\.token_file: cannot be read: No such file"):
        access_of(config(token_file=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match="token is set too"):
        access_of(config(token=TOKEN, token_file=str(tmp_path / "none")))
    (tmp_path / "bytes").write_bytes(b"\xff" * 20)
    with pytest.raises(ConfigError, match="must be ASCII"):
        access_of(config(token_file=str(tmp_path / "bytes")))


def test_a_host_is_a_name() -> None:
    with pytest.raises(ConfigError, match=r"api\.hosts: a host is a name"):
        access_of(config(hosts=["collector:8321"]))
    access = access_of(config(hosts=["Collector.Example.org"]))
    assert access is not None and access.hosts == {"collector.example.org"}


def test_an_address_of_ipv6_is_in_brackets() -> None:
    assert url_of("::1", 1, True) == "https://[::1]:1/"
