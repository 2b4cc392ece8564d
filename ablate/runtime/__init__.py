"""The state of the process: random streams, memory, global state of libraries, standard output."""
