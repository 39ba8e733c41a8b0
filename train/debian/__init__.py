"""The freely licensed pretraining corpus, made from packages of Debian main: ``python -m train corpus``."""
