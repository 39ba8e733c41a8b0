"""The seven augmentations, batched: each acts on all its rows at once, with parameters of each row's own."""
