"""The commands, thin: parse, call, print. The code that they call is imported inside, so that `--help` stays quick."""
