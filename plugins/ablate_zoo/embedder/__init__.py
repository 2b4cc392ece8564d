"""Components of the kind `embedder`."""
