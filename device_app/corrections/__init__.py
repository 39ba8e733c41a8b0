"""What a person says of what was heard, and what is learned from it."""
