"""Earmark as a service of systemd."""
