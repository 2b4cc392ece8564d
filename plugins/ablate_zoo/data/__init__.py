"""Components of the kind `data`."""
