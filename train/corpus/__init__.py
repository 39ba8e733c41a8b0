"""Audio to train on: reading any files, the decoded cache, and what a step draws from it."""
