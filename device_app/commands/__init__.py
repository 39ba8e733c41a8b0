"""The subcommands of ``earmark``: what they are called and take. They import what does the work only when they run."""
