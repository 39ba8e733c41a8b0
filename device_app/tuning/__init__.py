"""Choosing thresholds on recordings of where the sounds are to be heard."""
