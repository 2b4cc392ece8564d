"""Files, weights, and text in the formats that it goes into."""
