"""Components of the kind `backbone`."""
