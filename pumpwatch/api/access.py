"""Read the API's address and the rules for its callers from the config.

An address that other machines can reach must be protected on purpose, or the config is invalid.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from pumpwatch.config import Config
from pumpwatch.errors import ConfigError
from pumpwatch.notify.secret_values import secret_value

SHORTEST_TOKEN = 16
LONGEST_TOKEN = 512
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+)):([0-9]{1,5})")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class Access:
    """The address to listen at, and the rules for callers.

    token: empty without one. every_request: reading needs the token too. tls: None for plain HTTP. hosts: allowed host names.
    """

    host: str
    port: int
    token: str
    every_request: bool
    tls: ssl.SSLContext | None
    hosts: frozenset[str]

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return url_of(self.host, self.port, self.tls is not None)


def url_of(host: str, port: int, secure: bool) -> str:
    """Return the address of a page."""
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"


def access_of(config: Config) -> Access | None:
    """Return the rules of the config, None if the API is off.

    An address that only this machine can reach needs no protection. Any other needs TLS, or a token and `plain_http: true`; if it
    has a token, every request needs it. Raises ConfigError.
    """
    options = config.api
    if options.listen is False or options.listen in ("", "off"):
        return None
    host, port = _address_of(config)
    token, tls = _token_of(config), _tls_of(config)
    local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    if not local and tls is None and not (token and options.plain_http):
        missing = "neither TLS nor a token" if not token else "no TLS"
        raise _invalid(config, "listen", f"other machines can reach {host}, but the config has {missing}",
                       "set a certificate and its key, or a token and `plain_http: true`; only this machine can reach 127.0.0.1")
    hosts = frozenset(name.lower() for name in options.hosts)
    for name in hosts:
        if not _NAME.fullmatch(name):
            raise _invalid(config, "hosts", "a host is a name such as collector.example.org, without a port")
    return Access(host, port, token, bool(token) and not local, tls, hosts)


def _invalid(config: Config, key: str, text: str, hint: str = "") -> ConfigError:
    return ConfigError(f"{config.source.at(f'api.{key}')}: api.{key}: {text}", hint)


def _address_of(config: Config) -> tuple[str, int]:
    found = _LISTEN.fullmatch(config.api.listen) if isinstance(config.api.listen, str) else None
    host, port = (found[1] or found[2], int(found[3])) if found else ("", 0)
    try:
        if host != "localhost":
            ipaddress.ip_address(host)
    except ValueError:
        host = ""
    if not host or port > 65535:
        raise _invalid(config, "listen", "not an address and a port",
                       "use 127.0.0.1:8321, localhost:8321 or [::1]:8321, or `off`")
    return host, port


def _token_of(config: Config) -> str:
    options, key = config.api, "token"
    if options.token and options.token_file:
        raise _invalid(config, "token_file", "token is set too", "set either token or token_file")
    token = secret_value(options.token, f"{config.source.at('api.token')}: api.token", Path(config.source.name).absolute().parent)
    if options.token_file:
        key = "token_file"
        try:
            token = Path(options.token_file).read_text("ascii").strip()
        except OSError as error:
            raise _invalid(config, key, f"cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise _invalid(config, key, "the token must be ASCII") from error
    elif not token:
        return ""
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise _invalid(config, key, f"a token is {SHORTEST_TOKEN} to {LONGEST_TOKEN} printable ASCII characters without a space",
                       "create one with `openssl rand -hex 24`")
    return token


def _tls_of(config: Config) -> ssl.SSLContext | None:
    options = config.api
    if not options.tls_cert_file and not options.tls_key_file:
        return None
    if not options.tls_cert_file:
        raise _invalid(config, "tls_cert_file", "tls_key_file is set without a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:  # without `password`, OpenSSL would prompt for an encrypted key's password
        context.load_cert_chain(options.tls_cert_file, options.tls_key_file or None, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _invalid(config, "tls_cert_file", f"the certificate and key cannot be used: {reason}") from error
    return context
