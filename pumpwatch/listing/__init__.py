"""From a notice to an archive: titles, boards, windows, archives, analysis, replay."""
