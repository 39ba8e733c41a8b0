"""The network, its heads and its losses."""
