"""The recipe with one thing changed at a time, on a tiny network and made-up tones."""

from pathlib import Path

import pytest

from tests.train.evaluate.made import write_tones
from tests.train.tiny import tiny_config
from train.config import load_config
from train.corpus.cache import Cache
from train.errors import ConfigError
from train.results.ablations import ablate, read_changes

ROOT = Path(__file__).resolve().parents[2]


def test_each_change_is_trained_evaluated_and_put_into_the_document(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "changes.toml").write_text(
        "[all.run]\nmax_steps = 2\n[[change]]\nname = 'as it is'\n"
        "[[change]]\nname = 'Wider: 8'\nmodel = { width = 8 }\n"
    )
    changes = read_changes(tmp_path / "changes.toml", tiny_config())
    assert [(change.folder, change.config.model.width) for change in changes] == [("as-it-is", 4), ("wider-8", 8)]
    assert {change.config.run.max_steps for change in changes} == {2}
    tones = write_tones(tmp_path / "tones", 6, 7)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "RESULTS.md").write_text("by hand\n")

    def run() -> list[dict[str, object]]:
        return ablate(changes, cache.folder, tmp_path, [str(tones)], tmp_path / "out", docs, progress=False)

    rows = run()
    assert [(row["change"], row["set"]) for row in rows] == [("as it is", "tones"), ("Wider: 8", "tones")]
    assert all(row["head"] in ("invariant", "sensitive") for row in rows)
    text = (docs / "RESULTS.md").read_text()
    assert text.startswith("by hand\n")
    assert f"| Wider: 8 | {rows[1]['best']} ({rows[1]['head']}) | {rows[1]['all']} |" in text
    assert run() == rows  # what is there is kept
    assert (docs / "RESULTS.md").read_text() == text


def test_the_changes_of_the_repository_fit_the_recipe() -> None:
    changes = read_changes(ROOT / "configs" / "ablations.toml", load_config(ROOT / "configs" / "third-stage.toml"))
    assert len({change.folder for change in changes}) == len(changes) > 10


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"has no \[\[change\]\]"),
        ("[[change]]\nmodel = { width = 8 }", "change 1 has no name"),
        ("[[change]]\nname = 'x'\nmodel = { widht = 8 }", r"change 'x': unknown key 'model.widht'"),
    ],
)
def test_wrong_changes_are_told(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "changes.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_changes(tmp_path / "changes.toml", tiny_config())
