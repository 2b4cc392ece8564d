"""Components of the kind `mixer`."""
