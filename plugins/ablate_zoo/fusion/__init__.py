"""Components of the kind `fusion`."""
