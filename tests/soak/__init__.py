"""A day of audio through the listening path, with all that can go wrong on the way: `make soak`."""
