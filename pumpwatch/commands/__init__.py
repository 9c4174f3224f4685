"""The commands, thin: parse, call, print. What they call is imported inside, so that `--help` stays quick."""
