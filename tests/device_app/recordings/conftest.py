"""The taught profile and the history that these tests share."""

from tests.device_app.taught_profile import embedder, history, profile, taught

__all__ = ["embedder", "history", "profile", "taught"]
