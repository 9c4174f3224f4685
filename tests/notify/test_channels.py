"""Services, webhooks and commands take an event, fail with a reason, and can neither hang nor flood nor learn a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sys
from pathlib import Path

import msgspec
import pytest

from pumpwatch.config import NetConfig
from pumpwatch.errors import EXIT_CONFIG, ConfigError
from pumpwatch.notify.channels import Channel, Sent, make_channels, signature
from pumpwatch.notify.events import ListingUpdate
from tests.notify.configured import SECRET, channel_of, config_of
from tests.notify.told import event
from tests.notify.web_service import HUGE_BYTES, WebService


def webhook(folder: Path, service: WebService, **keys: object) -> Channel:
    return channel_of(folder, {"KEY": SECRET}, webhook=f"http://{service.address}/path-of-mine", secret="${KEY}", **keys)


def python(folder: Path, code: str, **keys: object) -> Channel:
    return channel_of(folder, command=[sys.executable, "-S", "-c", code], **keys)


def test_a_webhook_gets_the_event_signed_with_the_time(tmp_path: Path) -> None:
    with WebService() as service:
        assert webhook(tmp_path, service).send(event()) == Sent(True)
    ((headers, body),) = service.posts
    assert headers["x-pumpwatch-signature"] == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["x-pumpwatch-timestamp"] == str(json.loads(body)["sent_at"])
    assert headers["x-pumpwatch-event"] == "seen:upbit:6642:KITE" and headers["content-type"] == "application/json"
    assert msgspec.json.decode(body, type=ListingUpdate) == event()


def test_a_signature_is_the_hmac_of_the_body_alone() -> None:
    # RFC 4231, test case 2
    assert signature("Jefe", b"what do ya want for nothing?") == (
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")


def test_a_webhook_that_hangs_is_left_after_its_time(tmp_path: Path) -> None:
    with WebService("hang") as service:
        sent = webhook(tmp_path, service, timeout_s=0.5).send(event())
    assert sent == Sent(False, "no answer within 0.5 s")


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with WebService() as elsewhere, WebService("redirect", elsewhere=f"http://{elsewhere.address}/") as service:
        sent = webhook(tmp_path, service).send(event())
    assert sent == Sent(False, "it answers HTTP 302, a redirect, which is not followed")
    assert elsewhere.posts == []


def test_an_answer_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    with WebService("huge") as service:
        assert webhook(tmp_path, service).send(event()) == Sent(True)
    assert service.sent_bytes < HUGE_BYTES / 10


def test_a_status_that_is_no_success_is_a_reason(tmp_path: Path) -> None:
    with WebService(500, 404) as service:
        channel = webhook(tmp_path, service)
        assert channel.send(event()) == Sent(False, "it answers HTTP 500")
        assert channel.send(event()) == Sent(False, "it answers HTTP 404")
        assert channel.send(event()) == Sent(True)


def test_no_reason_shows_a_secret(tmp_path: Path) -> None:
    with WebService() as service:
        address = service.address
    url = f"http://us3r:{SECRET}@{address}/${{T}}?key=${{T}}"
    assert channel_of(tmp_path, {"T": "TOPSECRET"}, webhook=url, secret="${T}").send(event()) == Sent(
        False, "ConnectionRefusedError: Connection refused")
    unknown = url.replace("127.0.0.1", "TOPSECRET.invalid")
    sent = channel_of(tmp_path, {"T": "TOPSECRET"}, webhook=unknown, secret="${T}").send(event())
    assert not sent.taken and sent.reason
    assert not any(piece in sent.reason for piece in (SECRET, "us3r", "TOPSECRET"))


def test_a_webhook_of_a_private_authority_is_trusted_by_its_file_alone(tmp_path: Path) -> None:
    with WebService(tls=True) as service:
        config = config_of(tmp_path, it={"webhook": f"https://{service.address}/", "secret": SECRET})
        (untrusting,) = make_channels(config)
        assert "CERTIFICATE_VERIFY_FAILED" in untrusting.send(event()).reason and service.posts == []
        (tmp_path / "ca.pem").write_bytes(service.authority)
        (trusting,) = make_channels(config.changed(net=NetConfig(ca_file=str(tmp_path / "ca.pem"))))
        assert trusting.send(event()) == Sent(True)


def test_a_service_of_apprise_of_a_private_authority_is_trusted_by_its_file_alone(tmp_path: Path) -> None:
    with WebService(tls=True) as service:
        config = config_of(tmp_path, it={"url": f"jsons://{service.address}/"})
        (untrusting,) = make_channels(config)
        assert not untrusting.send(event()).taken and service.posts == []
        (tmp_path / "ca.pem").write_bytes(service.authority)
        (trusting,) = make_channels(config.changed(net=NetConfig(ca_file=str(tmp_path / "ca.pem"))))
        assert trusting.send(event()) == Sent(True)


def test_a_service_of_apprise_gets_headline_and_text(tmp_path: Path) -> None:
    with WebService() as service:
        assert channel_of(tmp_path, {"A": service.address}, url="json://${A}/mine").send(event(drill=True)) == Sent(True)
    ((_, body),) = service.posts
    said = json.loads(body)
    assert said["title"] == "DRILL: KITE gets a KRW market (upbit)" and "seen 1.2 s later" in said["message"]


def test_a_service_of_apprise_that_fails_gives_its_reason_without_the_token(tmp_path: Path) -> None:
    with WebService(500) as service:
        sent = channel_of(tmp_path, url=f"json://us3r:{SECRET}@{service.address}/{SECRET}").send(event())
    assert not sent.taken and "500" in sent.reason and SECRET not in sent.reason


@pytest.mark.parametrize(("behaviour", "reason"), [
    ("hang", "no answer within 1 s"), ("huge", "no answer|too large"), ("redirect", "302")])
def test_a_service_of_apprise_can_neither_hang_nor_flood_nor_redirect(tmp_path: Path, behaviour: str, reason: str) -> None:
    with WebService() as elsewhere, WebService(behaviour, elsewhere=f"http://{elsewhere.address}/") as service:
        sent = channel_of(tmp_path, url=f"json://{service.address}/", timeout_s=1.0).send(event())
        assert not sent.taken and re.search(reason, sent.reason) and elsewhere.posts == []


def test_an_address_that_apprise_does_not_know_is_a_reason(tmp_path: Path) -> None:
    sent = channel_of(tmp_path, url="nosuch://TOKEN").send(event())
    assert not sent.taken and "apprise knows no service" in sent.reason and "TOKEN" not in sent.reason


def test_a_command_gets_the_event_on_stdin_and_no_shell(tmp_path: Path) -> None:
    code = f"import sys; open({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read() + sys.argv[1])"
    channel = channel_of(tmp_path, command=[sys.executable, "-S", "-c", code, "$HOME; exit 1"])
    assert channel.send(event()) == Sent(True)
    got, _, words = (tmp_path / "got").read_text("utf-8").partition("\n")
    assert msgspec.json.decode(got, type=ListingUpdate) == event() and words == "$HOME; exit 1"


def test_a_command_that_does_not_read_a_large_event_is_no_failure(tmp_path: Path) -> None:
    large = msgspec.structs.replace(event(), problems=("x" * 5_000_000,))
    assert python(tmp_path, "pass").send(large) == Sent(True)
    assert python(tmp_path, "import sys; sys.exit(len(sys.stdin.read()) < 5_000_000)").send(large) == Sent(True)


def test_a_command_that_takes_too_long_is_killed_and_not_run_again(tmp_path: Path) -> None:
    sent = python(tmp_path, "import time; time.sleep(1000)", timeout_s=0.5).send(event())
    assert sent == Sent(False, "not done within 0.5 s, and killed", again=False)


@pytest.mark.parametrize(("code", "sent"), [
    ("import sys; print('no\\x1b[2J route', file=sys.stderr); sys.exit(1)", Sent(False, "exit code 1: no\\x1b[2J route", False)),
    ("import sys; sys.exit(75)", Sent(False, "exit code 75", True)),
    ("import os; os.kill(os.getpid(), 9)", Sent(False, "ended by signal 9", False))])
def test_an_exit_code_is_a_failure_and_75_asks_for_another_try(tmp_path: Path, code: str, sent: Sent) -> None:
    assert python(tmp_path, code).send(event()) == sent


def test_a_command_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    sent = channel_of(tmp_path, command=["/does/not/exist"]).send(event())
    assert sent == Sent(False, "cannot be started: No such file or directory", again=False)


@pytest.mark.parametrize(("keys", "words"), [
    ({}, "has no address"), ({"url": "a://b", "command": ["x"]}, "has url and command"),
    ({"webhook": "https://example.com"}, "notify.it.secret: a webhook needs one"),
    ({"webhook": "ftp://SECRET", "secret": "SECRET"}, "notify.it.webhook: is not an address that begins"),
    ({"webhook": "https://[SECRET", "secret": "SECRET"}, "notify.it.webhook: is not an address that begins"),
    ({"url": "SECRET"}, "notify.it.url: is not an address of apprise"), ({"command": [""]}, "names no program"),
    ({"url": "tgram://${SURELY_NOT_SET}"}, "notify.it.url: the environment variable SURELY_NOT_SET is not set")])
def test_an_invalid_channel_is_named_and_its_secret_is_not(tmp_path: Path, keys: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_channels(config_of(tmp_path, it=keys))
    assert words in str(caught.value) and "SECRET" not in str(caught.value).replace("SURELY_NOT_SET", "")
    assert caught.value.exit_code == EXIT_CONFIG and str(tmp_path / "pumpwatch.yaml") in str(caught.value)


def test_a_channel_wants_the_events_that_it_names(tmp_path: Path) -> None:
    channel = channel_of(tmp_path, command=["true"], events=["archived"], drills=False)
    test = msgspec.structs.replace(event(drill=True), kind="test")
    archived = msgspec.structs.replace(event(), kind="archived")
    assert [channel.wants(told) for told in (event(), archived, msgspec.structs.replace(archived, drill=True), test)] == [
        False, True, False, True]
