"""Starting from the weights of a network with fewer branches."""

from typing import Any

import torch

from tests.train.tiny import tiny_config
from train.config import Config
from train.network.system import PretrainingSystem
from train.run.start import weights_to_start_from

TASKS = ["invariant", "sensitive", "distilled"]


def config(tasks: list[str], **distil: Any) -> Config:
    return tiny_config(
        model={"tasks": tasks}, distil={"teachers": ["mn04", "ge2e"], "teacher_weights": [1.0, 1.0], **distil}
    )


def test_a_branch_that_a_checkpoint_lacks_starts_as_a_copy_of_the_one_taught_before() -> None:
    torch.manual_seed(0)
    before = PretrainingSystem(config(TASKS))
    after = PretrainingSystem(config([*TASKS, "speaker"], teacher_branches=["distilled", "speaker"]))
    weights = weights_to_start_from({"model": before.state_dict()}, before.cfg, after)
    after.load_state_dict(weights)  # complete, and nothing left over
    before.eval()
    after.eval()
    clips = torch.randn(3, before.cfg.clip_samples)
    h_before, h_after = (system.backbone.shared(system.frontend(clips)) for system in (before, after))
    for task in range(3):
        torch.testing.assert_close(after.backbone.branch(h_after, task), before.backbone.branch(h_before, task))
    torch.testing.assert_close(after.backbone.branch(h_after, 3), before.backbone.branch(h_before, 2))


def test_each_teacher_is_answered_from_its_own_branch() -> None:
    system = PretrainingSystem(config([*TASKS, "speaker"], teacher_branches=["distilled", "speaker"])).eval()
    h = system.backbone.shared(system.frontend(torch.randn(3, system.cfg.clip_samples)))
    first, second = system.answers(h)
    assert system.students is not None
    torch.testing.assert_close(first, system.students[0](system.backbone.branch(h, 2)))
    torch.testing.assert_close(second, system.students[1](system.backbone.branch(h, 3)))


def test_heads_for_other_teachers_start_afresh() -> None:
    before = PretrainingSystem(config(TASKS))
    after = PretrainingSystem(config(TASKS, teachers=["ge2e", "mn04"]))
    weights = weights_to_start_from({"model": before.state_dict()}, before.cfg, after)
    torch.testing.assert_close(weights["students.0.weight"], after.state_dict()["students.0.weight"])
    torch.testing.assert_close(weights["backbone.stem_conv.weight"], before.state_dict()["backbone.stem_conv.weight"])
