"""The paper's claim at a size that can be run here: nine small runs, and their table beside the paper's."""
