"""Backup and restore of everything that a collector stores.

A backup is a manifest and the objects that it names. An object holds one file, compressed and perhaps encrypted, and is named by
the SHA-256 of the file. So unchanged files are not written again, and each manifest still names every object that it needs. The
manifest is written last, so that a backup is complete or does not exist.
"""
