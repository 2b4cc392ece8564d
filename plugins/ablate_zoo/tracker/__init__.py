"""Trackers: where trials are logged beside the study's folder."""
