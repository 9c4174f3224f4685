"""The instruments of venues: lists, 24-hour volumes, exclusion reasons, and the symbols file."""
