"""Components of the kind `fidelity`."""
