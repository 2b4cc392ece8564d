"""Components of the kind `routing`."""
