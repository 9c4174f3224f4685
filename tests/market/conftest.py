"""Fixtures of the tests of `market`."""

from tests.authorities import authority_of_nobody, trusts_nobody  # noqa: F401 fixtures
