"""Where events go besides standard output: the history, commands, a webhook, recordings."""
