"""Files: atomic writes, locks, checksums, downloads of weights; text and tables escaped for their formats."""
