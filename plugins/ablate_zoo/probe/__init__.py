"""Components of the kind `probe`."""
