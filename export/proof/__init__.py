"""Whether an exported file says what the network says."""
