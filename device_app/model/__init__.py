"""The model file and what it hears."""
