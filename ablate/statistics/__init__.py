"""What seeds show: comparisons at a controlled error, what they could find, and how both do in simulated studies."""
