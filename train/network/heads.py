"""Networks between a branch's embedding and its loss; discarded after pretraining.

Shapes: B clips, E = head_dim, P = projector_dim.
"""

from torch import Tensor, nn


class SimCLRProjector(nn.Sequential):
    """E -> E -> P without batch norm (Chen et al. 2020, arXiv:2002.05709; sizes of the paper's code)."""

    def __init__(self, dim: int, projector_dim: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, projector_dim))


class SimSiamHead(nn.Module):
    """Projector E -> 2048 -> 2048 -> 2048 and predictor 2048 -> 512 -> 2048 (Chen and He 2021, arXiv:2011.10566).

    With biases before the batch norms and a scaling last one, as in the paper's code: its parameter counts are ours.
    """

    def __init__(self, dim: int, hidden: int = 2048, bottleneck: int = 512) -> None:
        super().__init__()
        self.projector = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
        )
        self.predictor = nn.Sequential(
            nn.Linear(hidden, bottleneck),
            nn.BatchNorm1d(bottleneck),
            nn.ReLU(),
            nn.Linear(bottleneck, hidden),
        )

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, E) to the projection z and the prediction p, both (B, 2048)."""
        z = self.projector(embedding)
        return z, self.predictor(z)


class MLAPHead(nn.Sequential):
    """Multi-label augmentation prediction: E -> 256 -> 64 -> 16, each with batch norm, to one logit a label."""

    def __init__(self, dim: int, n_labels: int) -> None:
        layers: list[nn.Module] = []
        for c_in, c_out in ((dim, 256), (256, 64), (64, 16)):
            layers += [nn.Linear(c_in, c_out), nn.BatchNorm1d(c_out), nn.ReLU()]
        super().__init__(*layers, nn.Linear(16, n_labels))


def n_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters())


__all__ = ["MLAPHead", "SimCLRProjector", "SimSiamHead", "n_parameters"]
