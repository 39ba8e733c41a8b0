"""A training run: the loop, its optimiser, what it records, and the processes that share it."""
