"""Components of the kind `objective`."""
