"""From a notice to the archive of what was traded around it."""
