"""The pages of studies while they run: what is new in a folder, and the server that `ablate watch` starts."""
