"""Components of the kind `gate`."""
