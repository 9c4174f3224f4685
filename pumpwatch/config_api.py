"""The section `api` of the configuration: where the page and the HTTP API listen, and who may use them."""

from __future__ import annotations

from pumpwatch.config_section import Count, PositiveInt, Section


class ApiConfig(Section):
    """The page and the HTTP API. See `pumpwatch.api.access` for the rules that an address must keep."""

    listen: str | bool = "127.0.0.1:8321"  # empty or off: neither
    token: str = ""
    token_file: str = ""
    plain_http: bool = False  # true: a public address is served even without TLS
    tls_cert_file: str = ""
    tls_key_file: str = ""
    hosts: list[str] = []  # host names that browsers may use, besides localhost and IP addresses
    connections: PositiveInt = 256
    requests_per_minute: Count = 600  # of the token, of each session, of each address; 0: no limit
    readers: PositiveInt = 2
    reader_memory_bytes: PositiveInt = 1_500_000_000  # of each process that reads stored trades
