"""``make bench-probes``: 10,000 tasks of 1,000 dimensions by each probe, beside scikit-learn task by task.

In CPU seconds, which other work on the machine changes little.
"""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from threadpoolctl import threadpool_limits

from tests.train.evaluate.made import a_set
from train.evaluate.probing.probes import PROBES, score_tasks, unit_length
from train.evaluate.tasks import TaskSpec, sample_tasks

N_TASKS, N_ALONE = 10_000, 50

ALONE = {
    "logistic": lambda: LogisticRegression(C=1.0, max_iter=1000),
    "logistic-c100": lambda: LogisticRegression(C=100.0, max_iter=1000),
    "sgd": lambda: SGDClassifier(
        loss="log_loss", alpha=0, learning_rate="adaptive", eta0=0.1, max_iter=20, tol=1e-4, n_iter_no_change=2
    ),
}
"""What does the same for one task."""


def main() -> None:
    """Print a table."""
    rng = np.random.default_rng(0)
    clips = a_set(50, 40, 20)
    centres = rng.standard_normal((50, 1000))
    x = (0.3 * centres[clips.labels] + rng.standard_normal((len(clips.labels), 1000))).astype(np.float32)
    print(f"{N_TASKS} tasks, 5-way, 10 queries a class, 10 clips of other classes, {x.shape[1]} dimensions\n")
    print("| shots | | batched, s | scikit-learn, s (from its first tasks) | times faster |")
    print("| ---: | --- | ---: | ---: | ---: |")
    total = 0.0
    for k_shot in (1, 5):
        began = time.process_time()
        tasks = sample_tasks(clips, TaskSpec(k_shot=k_shot, n_tasks=N_TASKS))
        took = time.process_time() - began
        total += took
        print(f"| {k_shot} | drawing the tasks | {took:.1f} | | |", flush=True)
        for name, probe in PROBES.items():
            began = time.process_time()
            score_tasks(x, tasks, {name: probe})
            took = time.process_time() - began
            total += took
            alone = _alone(unit_length(x) if probe.unit_length else x, tasks, name) if name in ALONE else None
            beside = f"{alone:.0f} | {alone / took:.0f}" if alone else "|"
            print(f"| {k_shot} | {name} | {took:.1f} | {beside} |", flush=True)
    print(f"\nall together {total:.1f} s")


def _alone(x: np.ndarray, tasks: object, name: str) -> float:
    """Seconds that all tasks would take one by one."""
    labels = np.repeat(np.arange(5), tasks.spec.k_shot)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        began = time.process_time()
        for t in range(N_ALONE):
            model = ALONE[name]().fit(x[tasks.support[t].ravel()], labels)
            model.predict(np.concatenate([x[tasks.queries[t].ravel()], x[tasks.unknown[t]]]))
        return (time.process_time() - began) * N_TASKS / N_ALONE


if __name__ == "__main__":
    main()
