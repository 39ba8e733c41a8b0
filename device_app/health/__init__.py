"""What is amiss with this machine, and how fast it is."""
