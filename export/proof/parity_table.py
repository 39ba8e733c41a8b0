"""The parity report for people: Markdown from the JSON document."""

from typing import Any


def parity_markdown(report: dict[str, Any]) -> str:
    """All of the report as Markdown tables."""
    parts = [
        f"# Parity of {report['model']}\n",
        f"Model `{report['model_id']}` ({report['precision']}), trained for {report['training_steps']:,} steps at "
        f"commit `{report['training_commit'][:12]}`. Measured on {report['machine']['architecture']}, onnxruntime "
        f"{report['machine']['onnxruntime']}, one thread. *file* is the model file, *fp32* the same graph in floating "
        f"point, *torch* the network as it was trained. Largest difference to the stored golden vectors: "
        f"{report['golden_error']:.2g}.\n",
        f"## Cosine similarity of embeddings ({report['cosine']['n_clips']} windows of the corpus)\n",
        cosine_table(report),
        "## Size and latency (one second of audio, all heads)\n",
        speed_table(report),
    ]
    if "few_shot" in report:
        parts += [
            "## Few-shot accuracy (nearest prototype, groups kept apart, %)\n",
            few_shot_table(report),
            "## Decisions of the device's head, taught with either precision\n",
            decision_table(report),
        ]
    return "\n".join(parts)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def cosine_table(report: dict[str, Any]) -> str:
    """Mean and worst cosine of each head."""
    rows = []
    for head in report["heads"]:
        pairs = report["cosine"][head]
        rows.append(
            [head]
            + [f"{pairs[pair][what]:.5f}" for pair in ("torch to fp32", "fp32 to file") for what in ("mean", "worst")]
        )
    return table(["head", "torch to fp32, mean", "worst clip", "fp32 to file, mean", "worst clip"], rows)


def speed_table(report: dict[str, Any]) -> str:
    """Megabytes and milliseconds of fp32 and the file."""
    rows = [
        [
            name,
            f"{report['size_bytes'][name] / 1e6:.1f}",
            f"{report['speed'][name]['median_ms']:.2f}",
            f"{report['speed'][name]['fastest_ms']:.2f}",
        ]
        for name in ("fp32", "file")
    ]
    return table(["", "MB", "median ms", "fastest ms"], rows)


def few_shot_table(report: dict[str, Any]) -> str:
    """Accuracy of each head on each set in torch, fp32 and the file."""
    rows = [
        [
            f"{row['set']}, {row['n_way']}-way {row['k_shot']}-shot, {row['head']}",
            *(f"{row[name]:.1f}" for name in ("torch", "fp32", "file")),
            f"{row['file'] - row['fp32']:+.1f}",
            f"± {row['ci95']:.1f}",
        ]
        for row in report["few_shot"]
    ]
    return table(["task", "torch", "fp32", "file", "file - fp32", "95 %"], rows)


def decision_table(report: dict[str, Any]) -> str:
    """Share of windows on which fp32 and the file decide alike."""
    rows = [
        [row["set"], f"{row['n_windows']:,}", f"{row['n_recognised']:,}", f"{100 * row['alike']:.2f} %"]
        for row in report["decisions"]
    ]
    return table(["set", "windows", "of which recognised", "decided alike"], rows)
