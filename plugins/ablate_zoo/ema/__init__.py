"""Components of the kind `ema`."""
