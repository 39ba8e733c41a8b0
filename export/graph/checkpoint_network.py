"""Everything that a checkpoint has to say at inference: the backbone's branches and the linear heads on top of them."""

from dataclasses import dataclass, replace
from pathlib import Path

from export.errors import ExportError
from export.graph.folding import FoldedNetwork, add_linear_head, fold
from export.graph.spectrum import MOVEMENT, SPECTRUM, spectrum_heads
from train.checkpoint import CheckpointInfo, LinearHead, load_backbone, load_linear_heads
from train.config import DISTILLED, INVARIANT, SENSITIVE, Config
from train.network.backbone import Backbone

DESCRIPTIONS = {
    INVARIANT: "what a sound is, whatever its level, pitch, tempo, noise and place in the clip (contrastive learning)",
    SENSITIVE: "how a sound is made: sensitive to pitch, tempo, fades and noise (prediction of augmentations)",
    DISTILLED: "what published networks hear in a sound (the layer that their answers are predicted from)",
    "events": "sound events: predicts the answers of EfficientAT mn04",
    "words": "what is said, whoever says it: predicts the answers of Google's speech_embedding",
    "voice": "who speaks, whatever is said: predicts the answers of Resemblyzer's GE2E",
    SPECTRUM: "what colours a sound, however loud and long: the mean of its cepstrum, which nothing taught",
    MOVEMENT: "how a sound moves and fills the clip: spread and change of its cepstrum, which nothing taught",
}
"""What each head is for, in words."""


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A checkpoint, ready to be written as a graph and to be compared with it."""

    network: FoldedNetwork
    backbone: Backbone
    linear_heads: dict[str, LinearHead]
    """Heads on the embeddings of the branches that learn from teachers."""
    config: Config
    info: CheckpointInfo


def read_network(checkpoint: Path) -> TrainedNetwork:
    """Read a checkpoint and fold it.

    Raises:
        CheckpointError: If it is missing, damaged, or does not fit its own config.
    """
    backbone, config, info = load_backbone(checkpoint)
    network = fold(backbone)
    linear_heads = load_linear_heads(checkpoint)
    for name, head in linear_heads.items():
        network = add_linear_head(network, name, head.branch, head.linear)
    # A branch that teachers taught says no more than their heads on it, and would only count twice.
    taught = {head.branch for head in linear_heads.values()}
    heads = [head for head in network.heads if head.name not in taught]
    if config.frontend.channels == "log-mel":
        heads += spectrum_heads(config.frontend.n_mels)
    network = replace(network, heads=tuple(heads))
    return TrainedNetwork(network, backbone, linear_heads, config, info)


def choose_heads(network: FoldedNetwork, heads: list[str] | None) -> FoldedNetwork:
    """Leave out what the chosen heads do not need; None keeps all.

    Raises:
        ExportError: If there is no such head.
    """
    if heads is None:
        return network
    known = [head.name for head in network.heads]
    unknown = [name for name in heads if name not in known]
    if unknown or not heads:
        raise ExportError(
            f"the checkpoint has no head {', '.join(unknown) or '(none named)'}: choose of {', '.join(known)}"
        )
    chosen = tuple(head for head in network.heads if head.name in heads)
    needed = {head.branch for head in chosen}
    branches = tuple(branch for branch in network.branches if branch.name in needed)
    return FoldedNetwork(network.stem, network.shared, branches, chosen)
