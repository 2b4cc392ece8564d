"""Checks by kind: one file each, named as the kind is; `CHECKS` holds them in order."""
