"""Tools for plugin authors: a package to start from, a recorder, and the contract that every plugin must keep."""
