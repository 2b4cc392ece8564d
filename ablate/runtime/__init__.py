"""The state of the process: random streams, memory, activation checkpointing, global states, standard output."""
