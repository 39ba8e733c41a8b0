import numpy as np

from export.proof.embedding_cosine import row_cosines


def test_two_silences_agree_and_silence_and_a_sound_do_not() -> None:
    first = np.array([[1, 0], [0, 0], [0, 0], [0.6, 0.8]], np.float32)
    second = np.array([[0, 1], [0, 0], [1, 0], [0.8, 0.6]], np.float32)
    np.testing.assert_allclose(row_cosines(first, second), [0.0, 1.0, 0.0, 0.96], atol=1e-6)
