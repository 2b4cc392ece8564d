"""Components of the kind `autoencoder`."""
