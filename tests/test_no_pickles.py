"""No pickle is written or read, whatever it is called: unpickling runs what the file says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MODULES = {"pickle", "_pickle", "pickletools", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
CALLS = {
    *(f"torch.{name}" for name in ("save", "load", "package", "jit.save", "jit.load", "hub.load", "export.load")),
    *(f"torch.serialization.{name}" for name in ("save", "load")),
    *(f"torch.hub.{name}" for name in ("load", "load_state_dict_from_url")),
    *(f"torch.distributed.{name}_object_list" for name in ("broadcast", "scatter")),
    *(f"torch.distributed.{name}_object" for name in ("gather", "all_gather")),
    "pandas.read_pickle",
}
ARRAYS = {f"numpy.{name}" for name in ("load", "save", "savez", "savez_compressed")}
"""These say ``allow_pickle=False``: some of them would pickle otherwise."""

PICKLES_ON_PURPOSE = {
    "tests/device_app/packs/test_hostile_packs.py",
    "tests/train/test_checkpoint.py",
    "tests/train/test_teacher_files.py",
}
"""To see that they are refused."""


def names(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Everything that a module imports or reaches by attributes of imports, in full: ``np.load`` is ``numpy.load``."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                known[alias.asname or top] = alias.name if alias.asname else top
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield node, f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            name = _in_full(node, known)
            if name:
                yield node, name


def _in_full(node: ast.expr, known: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    if isinstance(node, ast.Attribute):
        before = _in_full(node.value, known)
        return f"{before}.{node.attr}" if before else ""
    return ""


def pickling(source: str) -> list[str]:
    """What of a module's source pickles or unpickles, with its line."""
    tree = ast.parse(source)
    found = {
        f"{node.lineno}: {name}"
        for node, name in names(tree)
        if name.partition(".")[0] in MODULES or any(f"{name}.".startswith(f"{call}.") for call in CALLS)
    }
    told = dict(names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            allowed = [word.value for word in node.keywords if word.arg == "allow_pickle"]
            refused = [isinstance(value, ast.Constant) and value.value is False for value in allowed]
            if not all(refused) or (told.get(node.func) in ARRAYS and not refused):
                found.add(f"{node.lineno}: allow_pickle")
    return sorted(found)


@pytest.mark.parametrize("package", ["train", "export", "device_app", "tests"])
def test_nothing_pickles_or_unpickles(package: str) -> None:
    paths = [path for path in (ROOT / package).rglob("*.py") if str(path.relative_to(ROOT)) not in PICKLES_ON_PURPOSE]
    assert len(paths) > 10
    found = {str(path.relative_to(ROOT)): pickling(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import json, pickle as p",
        "from pickle import loads",
        "def f():\n    import joblib.memory",
        "import torch\ntorch.load('x', weights_only=True)",
        "import torch as t\nsave = t.save",
        "from torch import load",
        "from torch.serialization import load as l",
        "import torch.serialization\ntorch.serialization.load('x')",
        "from torch import hub\nhub.load('x', 'y')",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.save('x', y)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "from numpy import savez as s\ns('x', allow_pickle=yes)",
        "import numpy as np\nnp.lib.format.read_array(f, allow_pickle=True)",
    ],
)
def test_a_module_that_does_is_found(source: str) -> None:
    assert pickling(source)


def test_what_does_not_is_not_found() -> None:
    assert not pickling("import torch, numpy as np\nx.load('y')\nsave()\nnp.load('x', allow_pickle=False)\ntorch.loads")
