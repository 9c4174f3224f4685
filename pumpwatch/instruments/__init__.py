"""What exists on a venue: instrument lists, 24-hour volumes, exclusion reasons, the symbols file."""
