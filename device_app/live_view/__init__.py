"""What `earmark listen --live` shows to people."""
