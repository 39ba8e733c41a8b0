"""Self-supervised training of Earmark's sound embeddings: corpora, augmentation, networks, loop, few-shot checks."""
