import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.tiny import tiny_config
from train.checkpoint import CheckpointInfo, compact_checkpoint, load_backbone, read_checkpoint, save_checkpoint
from train.config import Config, OptimConfig
from train.corpus.cache import Cache
from train.corpus.sampling import Sampler
from train.errors import CheckpointError, ConfigError, TrainingError
from train.network.system import PretrainingSystem
from train.run.loop import Trainer
from train.run.optimiser import learning_rate, make_optimiser
from train.run.start import adapt, pretrain
from train.run.targets import FormerSelf
from train.tensor_file import write_document


def trainer(cache: Cache, out: Path, config: Config | None = None) -> Trainer:
    return Trainer(config or tiny_config(), cache, out, "cpu", show_progress=False)


def losses(out: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in ("step", "loss", "contrastive", "mlap", "grad_norm", "lr")} for line in lines]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["model"]


def test_the_learning_rate_climbs_straight_and_falls_as_half_a_cosine() -> None:
    cfg = OptimConfig(lr=2.0, warmup_steps=4, final_lr_ratio=0.1)
    rates = [learning_rate(step, cfg, 24) for step in range(26)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == 2.0
    assert rates[14] == pytest.approx((2.0 + 0.2) / 2)
    assert rates[24] == rates[25] == pytest.approx(0.2)


def test_biases_and_batch_norms_are_not_decayed() -> None:
    system = PretrainingSystem(tiny_config())
    decayed, others = make_optimiser(system, OptimConfig(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert {p.ndim for p in others["params"]} == {1}
    assert len(decayed["params"]) + len(others["params"]) == len(list(system.parameters()))


def test_stopping_and_resuming_at_any_step_gives_the_losses_of_an_unbroken_run(cache: Cache, tmp_path: Path) -> None:
    config = tiny_config(run={"val_every": 2, "max_steps": 6})
    trainer(cache, tmp_path / "whole", config).run()
    unbroken = weights(tmp_path / "whole" / "last.safetensors")
    for stop in (1, 2, 5):
        out = tmp_path / f"stopped-{stop}"
        first = trainer(cache, out, config)
        step = first._step

        def stops(number: int, batch: Any, first: Trainer = first, step: Any = step, stop: int = stop) -> Any:
            if number + 1 == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(number, batch)

        first._step = stops  # type: ignore[method-assign]
        stopped = first.run()
        assert (stopped.step, stopped.finished) == (stop, False)
        torch.manual_seed(stop)  # the state of global generators must not matter
        assert pretrain(config, cache.folder, out, resume=True, device="cpu", show_progress=False).finished
        assert losses(out) == losses(tmp_path / "whole")
        torch.testing.assert_close(weights(out / "last.safetensors"), unbroken, rtol=0, atol=0)


def test_an_optimiser_that_does_not_fit_its_network_is_refused(cache: Cache, tmp_path: Path) -> None:
    config = tiny_config(run={"max_steps": 1})
    trainer(cache, tmp_path, config).run()
    path = tmp_path / "last.safetensors"
    for number, moment, value in (("0", "exp_avg", torch.zeros(3, 5)), ("999", "exp_avg", torch.zeros(1))):
        document = read_checkpoint(path)
        document["training"]["optimiser"]["state"].setdefault(number, {})[moment] = value
        (tmp_path / "changed").mkdir(exist_ok=True)
        write_document(tmp_path / "changed" / path.name, document)
        with pytest.raises(CheckpointError, match=r"the optimiser in .*changed.* does not fit its network"):
            trainer(cache, tmp_path / "changed", config).resume()


@pytest.mark.parametrize("channels_last", [True, False])
def test_moments_get_their_parameters_memory_format_back(cache: Cache, tmp_path: Path, channels_last: bool) -> None:
    """The fused AdamW pairs them as they lie in memory; a file keeps values alone."""
    config = tiny_config(run={"max_steps": 1, "channels_last": channels_last})
    first = trainer(cache, tmp_path, config)
    first.run()
    second = trainer(cache, tmp_path, config)
    second.resume()
    kinds = set()
    for ours, theirs in zip(second.system.parameters(), first.system.parameters(), strict=True):
        for name, value in second.optimiser.state[ours].items():
            before = first.optimiser.state[theirs][name]
            torch.testing.assert_close(value, before, rtol=0, atol=0)
            assert (value.stride(), value.dtype) == (before.stride(), before.dtype)
            kinds.add(value.is_contiguous())
    assert kinds == ({True, False} if channels_last else {True})


def test_a_run_of_an_earlier_version_is_neither_gone_on_with_nor_overwritten(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"PK")
    for resume in (True, False):
        with pytest.raises(TrainingError, match=r"holds a run of an earlier version, .* choose another --out"):
            pretrain(tiny_config(), cache.folder, tmp_path, resume=resume, device="cpu", show_progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_what_a_killed_run_wrote_after_its_last_checkpoint_is_done_again(cache: Cache, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    config = tiny_config()
    trainer(cache, whole, config).run()
    run = trainer(cache, killed, config)
    step = run._step

    def dies(number: int, batch: Any) -> Any:
        if number == 2:
            run._save("last.safetensors")
        if number == 4:
            raise KeyboardInterrupt
        return step(number, batch)

    run._step = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert len(losses(killed)) == 4
    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # the line it died in
    pretrain(config, cache.folder, killed, resume=True, device="cpu", show_progress=False)
    assert losses(killed) == losses(whole)


def test_weights_are_kept_along_the_way(cache: Cache, tmp_path: Path) -> None:
    trainer(cache, tmp_path, tiny_config(run={"keep_every": 2, "max_steps": 5})).run()
    kept = sorted(path.name for path in tmp_path.glob("step-*.safetensors"))
    assert kept == ["step-000002.safetensors", "step-000004.safetensors"]
    assert load_backbone(tmp_path / kept[1])[2].step == 4
    (tmp_path / "step-000004.safetensors").rename(tmp_path / "last.safetensors")
    run = trainer(cache, tmp_path, tiny_config(run={"max_steps": 5}))
    with pytest.raises(CheckpointError, match="holds weights alone"):
        run.resume()


def test_a_run_may_start_from_the_weights_of_another(cache: Cache, tmp_path: Path) -> None:
    trainer(cache, tmp_path / "first", tiny_config()).run()
    slow = tiny_config(run={"max_steps": 1}, optim={"lr": 1e-9})
    first = tmp_path / "first" / "last.safetensors"

    def start(out: str, config: Config, checkpoint: Path = first) -> dict[str, torch.Tensor]:
        pretrain(config, cache.folder, tmp_path / out, resume=False, show_progress=False, start_from=checkpoint)
        return {
            name: value
            for name, value in weights(tmp_path / out / "last.safetensors").items()
            if name.endswith("weight")
        }

    for name, value in start("second", slow).items():
        torch.testing.assert_close(value, weights(first)[name], rtol=0, atol=1e-6, msg=name)
    with pytest.raises(CheckpointError, match="of another architecture"):
        start("wider", tiny_config(model={"width": 8}))


def test_both_losses_fall(cache: Cache, tmp_path: Path) -> None:
    config = tiny_config(model={"width": 8}, run={"max_steps": 90, "batch_size": 8}, optim={"lr": 5e-3})
    trainer(cache, tmp_path, config).run()
    seen = losses(tmp_path)
    early, late = seen[:10], seen[-10:]
    assert sum(line["contrastive"] for line in late) < 0.9 * sum(line["contrastive"] for line in early)
    assert sum(line["mlap"] for line in late) < sum(line["mlap"] for line in early)


def test_accumulated_parts_give_the_gradient_of_the_mean_of_their_losses(cache: Cache, tmp_path: Path) -> None:
    config = tiny_config(run={"batch_size": 6, "accumulate": 3}, optim={"clip_norm": 0.0})
    run = trainer(cache, tmp_path, config)
    reference = PretrainingSystem(config)
    reference.load_state_dict(run.system.state_dict())
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    run.system.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[:2]))
    run._step(0, run._draw(0))
    assert len(seen) == 3
    reference.train()
    for views, labels in seen:
        (reference(views, labels)["loss"] / 3).backward()
    for (name, ours), theirs in zip(run.system.named_parameters(), reference.parameters(), strict=True):
        largest = theirs.grad.abs().max().item()  # up to 50 with so few clips; the memory layouts round differently
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6 * max(1.0, largest), msg=name)


def test_validation_is_the_same_each_time_and_changes_nothing(cache: Cache, tmp_path: Path) -> None:
    run = trainer(cache, tmp_path, tiny_config(run={"val_every": 1}))
    before = {name: value.clone() for name, value in run.system.state_dict().items()}
    first, second = run._validate(), run._validate()
    assert first == second
    assert set(first) == {"val_loss", "val_contrastive", "val_mlap"}
    for name, value in run.system.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert all(p.grad is None for p in run.system.parameters())


def test_the_best_weights_are_kept_and_patience_ends_the_run(cache: Cache, tmp_path: Path) -> None:
    config = tiny_config(run={"val_every": 1, "patience": 3, "max_steps": 50})
    run = trainer(cache, tmp_path, config)
    values = iter([3.0, 2.0, 2.5, 2.1, 2.2, 1.0])
    real = run.system.forward

    def scripted(*inputs: Any) -> dict[str, torch.Tensor]:
        return real(*inputs) if run.system.training else {"loss": torch.tensor(next(values))}

    run.system.forward = scripted  # type: ignore[method-assign]
    progress = run.run()
    assert (progress.step, progress.best_val, progress.bad_vals) == (5, 2.0, 3)
    assert load_backbone(tmp_path / "best.safetensors")[2].step == 2
    assert load_backbone(tmp_path / "last.safetensors")[2].step == 5


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    cache: Cache, tmp_path: Path
) -> None:
    run = trainer(cache, tmp_path)
    step = run._step

    def breaks(number: int, batch: Any) -> Any:
        if number == 2:
            run._save("last.safetensors")
        if number == 3:
            with torch.no_grad():
                run.system.backbone.stem_conv.weight.fill_(float("nan"))
        return step(number, batch)

    run._step = breaks  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"the loss at step 4 is nan: lower optim.lr=0.001 .* is kept"):
        run.run()
    assert all(value.isfinite().all() for value in weights(tmp_path / "last.safetensors").values())
    assert load_backbone(tmp_path / "last.safetensors")[2].step == 2


def test_a_full_disk_stops_the_run_with_a_sentence(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(cache, tmp_path, tiny_config(run={"checkpoint_every_s": 1e-9}))
    write, calls = Path.write_bytes, []

    def fills_up(path: Path, data: bytes) -> int:
        calls.append(path)
        if len(calls) > 2:
            write(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    with pytest.raises(TrainingError, match=r"No space left on device.*--resume"):
        run.run()
    assert load_backbone(tmp_path / "last.safetensors")[2].step == 2


def test_a_run_is_never_overwritten(cache: Cache, tmp_path: Path) -> None:
    config = tiny_config(run={"max_steps": 1})
    pretrain(config, cache.folder, tmp_path, resume=False, device="cpu", show_progress=False)
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="holds a run already: go on with --resume, or choose another --out"):
        pretrain(config, cache.folder, tmp_path, resume=False, device="cpu", show_progress=False)
    other = tiny_config(run={"max_steps": 1}, optim={"lr": 0.5})
    with pytest.raises(CheckpointError, match=r"was trained with optim.lr=0.001, not 0.5"):
        pretrain(other, cache.folder, tmp_path, resume=True, device="cpu", show_progress=False)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    longer = replace(config, run=replace(config.run, max_steps=2))
    assert pretrain(longer, cache.folder, tmp_path, resume=True, device="cpu", show_progress=False).step == 2


def test_another_corpus_is_refused_on_resuming(cache: Cache, tmp_path: Path) -> None:
    run = trainer(cache, tmp_path, tiny_config(run={"max_steps": 1}))
    run.run()
    run.cache.sha256, kept = "another", run.cache.sha256
    try:
        with pytest.raises(CheckpointError, match="was trained on another corpus"):
            run.resume()
    finally:
        run.cache.sha256 = kept


def test_tensorboard_gets_what_the_metrics_say(cache: Cache, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer(cache, tmp_path, tiny_config(run={"val_every": 3})).run()
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    values = [event.value for event in board.Scalars("training/loss")]
    assert values == pytest.approx([line["loss"] for line in losses(tmp_path)])
    assert [event.step for event in board.Scalars("validation/mlap")] == [3, 6]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_network_trains_as_the_plain_one_does(cache: Cache, tmp_path: Path) -> None:
    """Within 1 %, and under the same names in the checkpoint."""
    trainer(cache, tmp_path / "plain", tiny_config(run={"max_steps": 3})).run()
    trainer(cache, tmp_path / "compiled", tiny_config(run={"max_steps": 3, "compile": True})).run()
    for one, other in zip(losses(tmp_path / "plain"), losses(tmp_path / "compiled"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=0.01)
    assert weights(tmp_path / "plain/last.safetensors").keys() == weights(tmp_path / "compiled/last.safetensors").keys()


def test_half_precision_trains_on_the_cpu(cache: Cache, tmp_path: Path) -> None:
    full, half = tiny_config(), tiny_config(run={"precision": "bf16"})
    trainer(cache, tmp_path / "full", full).run()
    trainer(cache, tmp_path / "half", half).run()
    for one, other in zip(losses(tmp_path / "full"), losses(tmp_path / "half"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=0.1)
    assert all(
        value.dtype == torch.float32
        for value in weights(tmp_path / "half" / "last.safetensors").values()
        if value.is_floating_point()
    )


def test_adapting_goes_on_from_weights_and_lets_only_the_run_be_changed(cache: Cache, tmp_path: Path) -> None:
    trainer(cache, tmp_path / "first", tiny_config(run={"max_steps": 2})).run()
    compact_checkpoint(tmp_path / "first" / "last.safetensors", tmp_path / "compact.safetensors")
    settings = {"run": {"max_steps": 1}, "optim": {"lr": 1e-12, "warmup_steps": 0, "weight_decay": 0.0}}
    progress = adapt(
        tmp_path / "compact.safetensors",
        settings,
        cache.folder,
        tmp_path / "own",
        resume=False,
        device="cpu",
        show_progress=False,
    )
    assert progress.step == 1
    start = weights(tmp_path / "compact.safetensors")
    for name, value in weights(tmp_path / "own" / "last.safetensors").items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(value, start[name].to(value.dtype), rtol=0, atol=1e-6)
    assert load_backbone(tmp_path / "own" / "last.safetensors")[1].optim.lr == 1e-12
    with pytest.raises(ConfigError, match=r"\[model\] belongs to the network"):
        adapt(tmp_path / "compact.safetensors", {"model": {"width": 9}}, cache.folder, tmp_path / "x", resume=False)
    with pytest.raises(ConfigError, match=r"data.clip_s=0.5 must stay 0.25"):
        adapt(tmp_path / "compact.safetensors", {"data": {"clip_s": 0.5}}, cache.folder, tmp_path / "x", resume=False)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "last.safetensors").write_bytes((tmp_path / "compact.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="holds weights alone: start a new run"):
        adapt(tmp_path / "compact.safetensors", {}, cache.folder, tmp_path / "weights", resume=True, device="cpu")


def test_adapting_holds_the_distilled_branch_to_what_it_said_before(cache: Cache, tmp_path: Path) -> None:
    """Its targets are its own earlier answers to the clean clips: no teacher is needed, at first nothing is lost."""
    config = tiny_config(
        model={"tasks": ["invariant", "sensitive", "distilled"]},
        distil={"teachers": ["mn04", "ge2e"], "teacher_weights": [1.0, 0.5], "n_dims": 4},
    )
    system = PretrainingSystem(config).eval()
    batch = Sampler(cache, config).batch(0, 6)
    views, labels = batch.clips.repeat(2, 1), torch.zeros(6, 7)
    targets = FormerSelf(system)(batch.clips, batch.rows)
    assert targets.shape == (2, 6, 4)
    assert float(system(views, labels, batch.clips, targets)["distil"]) == pytest.approx(0.0, abs=1e-5)
    assert float(system(views, labels, batch.clips.flip(0), targets)["distil"]) > 1e-3
    info = CheckpointInfo(step=1, git_commit="a", config_sha256="b", corpus_sha256="c")
    save_checkpoint(tmp_path / "last.safetensors", info=info, config=config, model=system.state_dict(), training={})
    settings = {"run": {"max_steps": 2}}
    adapt(
        tmp_path / "last.safetensors",
        settings,
        cache.folder,
        tmp_path / "own",
        resume=False,
        device="cpu",
        show_progress=False,
    )
    lines = [json.loads(line) for line in (tmp_path / "own/metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line["loss"] == pytest.approx(line["contrastive"] + line["mlap"] + line["distil"], rel=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_waveforms_reach_the_front_end_in_full_precision(cache: Cache, tmp_path: Path, precision: str) -> None:
    run = trainer(cache, tmp_path, tiny_config(run={"precision": precision, "max_steps": 1}))
    heard: list[torch.Tensor] = []
    run.system.frontend.register_forward_pre_hook(lambda _module, inputs: heard.append(inputs[0]))
    run.run()
    assert heard[0].dtype == torch.float32
    assert (heard[0] != heard[0].bfloat16()).any()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_resumes_as_if_unbroken(cache: Cache, tmp_path: Path, precision: str) -> None:
    config = tiny_config(run={"precision": precision, "max_steps": 4})
    trainer(cache, tmp_path / "whole", config).run()
    first = trainer(cache, tmp_path / "stopped", config)
    first._told_to_stop = lambda: first.progress.step == 2  # type: ignore[method-assign]
    assert first.run().step == 2
    pretrain(config, cache.folder, tmp_path / "stopped", resume=True, device="cpu", show_progress=False)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def test_a_batch_that_does_not_divide_is_refused(cache: Cache, tmp_path: Path) -> None:
    config = tiny_config(model={"variant": "none", "tasks": ["sensitive"]}, run={"batch_size": 1})
    with pytest.raises(ConfigError, match=r"run.batch_size=1 cannot be divided"):
        trainer(cache, tmp_path, config)


def test_a_device_that_is_not_there_is_refused(cache: Cache, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="no CUDA device is available here"):
        Trainer(tiny_config(), cache, tmp_path, "cuda", show_progress=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_trains_in_every_precision_and_resumes(cache: Cache, tmp_path: Path, precision: str) -> None:
    config = tiny_config(run={"precision": precision, "max_steps": 3})
    Trainer(config, cache, tmp_path, "cuda", show_progress=False).run()
    longer = tiny_config(run={"precision": precision, "max_steps": 5})
    assert pretrain(longer, cache.folder, tmp_path, resume=True, device="cuda", show_progress=False).step == 5
    assert all(value.isfinite().all() for value in weights(tmp_path / "last.safetensors").values())
