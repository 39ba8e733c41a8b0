"""The demonstration: bundled sounds, enrolled and heard."""
