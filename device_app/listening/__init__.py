"""From audio as it comes to events."""
