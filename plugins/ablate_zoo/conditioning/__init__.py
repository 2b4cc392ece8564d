"""Components of the kind `conditioning`."""
