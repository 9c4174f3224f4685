"""Fixtures of the tests of `market`."""

