"""The path from a notice to an archive: titles, boards, windows, archives, analysis, replay."""
