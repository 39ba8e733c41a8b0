"""Classifiers on frozen embeddings, and what their answers are worth."""
