"""What the room sounds like, as embeddings and never as audio."""
