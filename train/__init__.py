"""Self-supervised training of Earmark's sound embeddings: corpora, augmentation, networks, the loop, few-shot checks."""
