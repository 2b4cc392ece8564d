"""Components of the kind `augmentation`."""
