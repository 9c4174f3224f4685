"""The variables that say which certificates are trusted: tests replace them, programs that use the network need them."""

from __future__ import annotations

import os

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # of OpenSSL
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_before = {name: os.environ[name] for name in (*CERTIFICATES, *BUNDLES) if name in os.environ}


def environ() -> dict[str, str]:
    """Return the environment of a program that uses the network: with the certificates that were trusted at the start."""
    return {name: value for name, value in os.environ.items() if name not in CERTIFICATES} | _before
