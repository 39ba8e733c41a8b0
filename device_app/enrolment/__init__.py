"""From recordings of a sound to what recognises it."""
