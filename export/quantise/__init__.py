"""From float to 8-bit integers."""
