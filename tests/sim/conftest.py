"""Fixtures of the tests of `sim`."""

from tests.sim.clients import connections_end  # noqa: F401 a fixture
