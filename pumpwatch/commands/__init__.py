"""Thin commands: parse options, call the code, print its result.

A command imports the code that it calls inside its function, so that `--help` stays quick.
"""
