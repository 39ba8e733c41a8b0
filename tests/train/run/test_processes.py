"""Two processes compute what one does with the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.train.tiny import tiny_config
from train.corpus.cache import Cache
from train.network.system import PretrainingSystem
from train.tensor_file import read_document, write_document

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False, cwd=ROOT)


WORKER = """
import os
import sys
import torch
from pathlib import Path
from lightning_fabric import Fabric
from tests.train.tiny import tiny_config
from train.run.processes import make_fabric, share_batch_norms
from train.network.system import PretrainingSystem
from train.tensor_file import read_document, write_document

torch.set_num_threads(1)
out = Path(sys.argv[1])
given = read_document(out / "given.safetensors")
config = tiny_config(**given["sections"])
fabric = make_fabric("cpu", "fp32")
system = PretrainingSystem(config)
system.load_state_dict(given["state"])
share_batch_norms(system, fabric.device)
optimiser = torch.optim.SGD(system.parameters(), 0.1)
model, optimiser = fabric.setup(system, optimiser)
model.train()
n, rank = len(given["labels"]) // 2, fabric.global_rank
first, second = given["views"].chunk(2)
mine = slice(rank * n, (rank + 1) * n)
taught = slice(rank * len(given["taught"]) // 2, (rank + 1) * len(given["taught"]) // 2)
answers = (given["taught"][taught], given["targets"][:, taught]) if config.distil.teachers else ()
losses = model(torch.cat([first[mine], second[mine]]), given["labels"][mine], *answers)
fabric.backward(losses["loss"])
means = {name: fabric.all_reduce(value.detach()) for name, value in losses.items()}
if fabric.is_global_zero:
    gradients = {name: p.grad for name, p in system.named_parameters()}
    got = {"losses": means, "gradients": gradients, "state": system.state_dict()}
    write_document(out / "got.safetensors", got)
fabric.barrier()
os._exit(0)  # gloo's threads abort now and then when one process tidies up before the other
"""


TWO_BRANCHES: dict[str, dict[str, object]] = {
    "model": {"tasks": ["invariant", "sensitive", "distilled", "speaker"]},
    "distil": {
        "teachers": ["a", "b"],
        "teacher_weights": [1.0, 2.0],
        "teacher_branches": ["distilled", "speaker"],
        "n_dims": 5,
        "contrast_weight": 0.3,
    },
}


@pytest.mark.parametrize(
    ("sections", "not_asked"),
    [
        ({"model": {"variant": "parallel"}}, []),
        ({"model": {"variant": "series"}, "loss": {"contrastive": "simsiam"}}, []),
        (
            {
                "model": {"tasks": ["invariant", "sensitive", "distilled"]},
                "distil": {"teachers": ["a", "b"], "teacher_weights": [1.0, 2.0], "n_dims": 5, "contrast_weight": 0.3},
            },
            [],
        ),
        (TWO_BRANCHES, [*range(17), 23, 30, 31]),  # the first process is asked about little, and pads for both
        (TWO_BRANCHES, [3, *range(20, 40)]),  # the second one's branch has nothing to compute but what pads
        (TWO_BRANCHES, [1, 2, 5, 18, *range(20, 40)]),  # and here not even that
    ],
    ids=["simclr-parallel", "simsiam-series", "distilled", "asked-unevenly", "one-is-not-asked", "one-has-no-rows"],
)
def test_two_processes_give_the_loss_and_the_gradients_of_one_with_the_whole_batch(
    sections: dict[str, dict[str, object]], not_asked: list[int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    system = PretrainingSystem(tiny_config(**sections))
    views = torch.randn(16, 4000)
    labels = (torch.rand(8, 7) < 0.5).float()
    state = {name: value.clone() for name, value in system.state_dict().items()}
    taught, targets = torch.randn(40, 4000), torch.nn.functional.normalize(torch.randn(2, 40, 5), dim=2)
    targets[1, not_asked] = 0
    given = {"views": views, "labels": labels, "taught": taught, "targets": targets}
    write_document(tmp_path / "given.safetensors", {"sections": sections, "state": state, **given})
    (tmp_path / "worker.py").write_text(WORKER)
    done = torchrun(str(tmp_path / "worker.py"), str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    got = read_document(tmp_path / "got.safetensors")

    system.train()
    losses = system(views, labels, *((taught, targets) if "distil" in sections else ()))
    losses["loss"].backward()
    for name, value in losses.items():
        torch.testing.assert_close(got["losses"][name], value.detach(), rtol=1e-4, atol=1e-5, msg=name)
    largest = max(float(p.grad.abs().max()) for p in system.parameters() if p.grad is not None)
    for name, parameter in system.named_parameters():
        torch.testing.assert_close(got["gradients"][name], parameter.grad, rtol=1e-3, atol=1e-4 * largest, msg=name)
    for name, value in system.state_dict().items():  # the batch norms' statistics too
        torch.testing.assert_close(got["state"][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_torchrun_trains_with_two_processes_and_one_record_and_resumes_in_one(cache: Cache, tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    sections = tiny_config(run={"max_steps": 3, "batch_size": 8, "val_every": 2}).to_dict()
    config.write_text(_toml(sections))
    out = tmp_path / "run"
    command = ["-m", "train", "pretrain", "--config", str(config), "--cache", str(cache.folder), "--out", str(out)]
    done = torchrun(*command, "--device", "cpu", "-q")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert "val_loss" in lines[1]
    assert done.stdout.count('"step": 3') == 1  # one process reports
    config.write_text(_toml({**sections, "run": {**sections["run"], "max_steps": 4}}))
    resumed = subprocess.run(
        [sys.executable, *command, "--device", "cpu", "-q", "--resume"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["step"] == 4


def _toml(sections: dict[str, dict[str, object]]) -> str:
    return "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
        for name, values in sections.items()
    )
