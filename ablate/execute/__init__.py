"""Where segments run: in this process, or on Ray."""
