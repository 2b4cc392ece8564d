"""Components of the kind `guidance`."""
