"""Which components there are, where each comes from, and in which source its behaviour is written."""
