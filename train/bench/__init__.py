"""How fast a training step is, against a pipeline like the published one, in one run."""
