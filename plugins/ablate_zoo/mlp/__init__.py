"""Components of the kind `mlp`."""
