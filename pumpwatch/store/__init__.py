"""Where trades are kept: memory, journal, sinks; and how they are found again."""
