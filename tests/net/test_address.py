"""Service addresses of the configuration are checked at the start, and shown without a password."""

from __future__ import annotations

import pytest

from pumpwatch.errors import ConfigError
from pumpwatch.net.address import check_address

SECRET = "s3cr3t"


@pytest.mark.parametrize("text", ["https://host/path", f"https://user:{SECRET}@host:8443/x?y=1", "http://[::1]:9000"])
def test_a_good_address_passes(text: str) -> None:
    check_address(text, "listing.sources.upbit.url", "http", "https")


@pytest.mark.parametrize("text", [
    "host/path", "wss://host", "https://", "https://a b/", f"https://user:{SECRET}/x@host/", f"https://user:{SECRET}?@host/",
    "https://host:port/", "https://host/\x1b[2J"])
def test_any_other_is_an_error_that_names_its_place_and_no_password(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^here: .*not a http or https address") as caught:
        check_address(text, "here", "http", "https")
    assert SECRET not in f"{caught.value.message}{caught.value.hint}" and caught.value.message.isprintable()
    assert "https://HOST/PATH" in caught.value.hint
