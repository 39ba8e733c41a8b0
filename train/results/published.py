"""The paper's tables, from the author's notes on it (github.com/CHeggan/CHeggan.github.io, 2023-05-30-MT-SLVR.md).

5-way 1-shot, ten sets, the SGD probe. The prediction-only row of the SimCLR table repeats other rows' cells in four
places; the one here is that of the SimSiam table, with which the printed ranks come out.
"""

SETS = (
    "ESC-50",
    "NSynth",
    "Kaggle18",
    "Watkins",
    "BirdClef",
    "VoxCeleb",
    "SCv2",
    "Crema-D",
    "SAA",
    "C-Voice",
)

_PRED_ONLY = (37.76, 62.52, 21.72, 28.88, 21.04, 21.68, 20.08, 21.68, 23.08, 23.00)

ACCURACY: dict[str, dict[str, tuple[float, ...]]] = {
    "simclr": {
        "Cont Only": (63.40, 66.44, 37.64, 52.91, 30.93, 31.18, 25.68, 29.10, 26.16, 33.33),
        "Pred Only": _PRED_ONLY,
        "MT-Simple": (64.23, 66.73, 36.70, 55.26, 29.39, 30.91, 24.02, 29.07, 26.32, 33.21),
        "MT-Split": (61.23, 65.29, 33.42, 53.19, 27.38, 29.71, 23.40, 28.66, 26.27, 31.80),
        "MT-Bn": (69.17, 72.44, 39.11, 58.80, 30.32, 32.10, 24.40, 30.03, 28.61, 34.72),
        "MT-Series": (69.00, 71.25, 37.28, 58.92, 28.82, 33.26, 24.66, 29.57, 28.74, 34.23),
        "MT-Parallel": (69.53, 71.81, 38.36, 59.49, 29.49, 33.58, 23.65, 29.61, 28.92, 35.22),
    },
    "simsiam": {
        "Cont Only": (51.74, 68.78, 31.72, 48.29, 23.94, 24.13, 23.80, 28.11, 23.51, 28.50),
        "Pred Only": _PRED_ONLY,
        "MT-Parallel": (60.61, 76.36, 37.59, 57.98, 25.45, 28.66, 23.08, 30.72, 27.94, 32.72),
    },
}
"""Percent, in the order of :data:`SETS`, by contrastive loss and variant (those that are run here)."""

DISTANCE: dict[tuple[str, str], tuple[float, ...]] = {
    ("Cont Only", "invariant"): (32.01, 31.23, 31.67, 31.66, 31.35, 30.96, 31.61),
    ("Pred Only", "sensitive"): (38.17, 40.81, 41.26, 40.73, 43.83, 54.21, 30.39),
    ("MT-Simple", "shared"): (29.09, 32.62, 31.86, 31.01, 36.77, 29.05, 22.45),
    ("MT-Split", "invariant"): (37.22, 38.66, 39.16, 37.86, 43.01, 37.50, 30.77),
    ("MT-Split", "sensitive"): (37.31, 38.73, 39.24, 37.95, 43.15, 37.78, 30.77),
    ("MT-Bn", "invariant"): (27.62, 31.93, 28.48, 27.51, 35.68, 29.98, 21.38),
    ("MT-Bn", "sensitive"): (29.58, 34.95, 31.98, 30.79, 40.67, 35.39, 21.42),
    ("MT-Series", "invariant"): (22.71, 26.16, 23.38, 23.15, 30.24, 21.00, 21.33),
    ("MT-Series", "sensitive"): (36.59, 37.71, 39.09, 38.78, 42.12, 44.44, 21.28),
    ("MT-Parallel", "invariant"): (31.41, 32.37, 31.69, 31.51, 33.88, 30.07, 30.34),
    ("MT-Parallel", "sensitive"): (35.67, 42.53, 39.99, 40.01, 41.21, 42.74, 30.24),
}
"""Mahalanobis distances, SimCLR, by variant and head, in the order of :data:`train.augment.chain.AUGMENTATIONS`."""

WEIGHT_SHARE = {"MT-Split": 0.59, "MT-Bn": 0.60, "MT-Series": 0.64, "MT-Parallel": 0.63}
"""Of the predictive head in a linear classifier's weight, SimCLR, mean over the six sets that are given."""
