"""Few-shot evaluation: sets, tasks, encoders, probes, intervals, what can go wrong in a room, and the report."""
