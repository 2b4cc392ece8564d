"""Executors: where jobs run, in this process, in one beside it, or on Ray."""
