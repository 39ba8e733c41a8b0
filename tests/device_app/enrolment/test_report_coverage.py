"""The promise of the report, kept on real recordings."""

import numpy as np
import pytest

from device_app.model.embedder import load_embedder
from tests.bench.labelled_clips import read_set, sets_folder
from tests.bench.report_coverage import simulate


@pytest.mark.slow
@pytest.mark.parametrize("name", ["esc10", "fsdd"])
def test_the_reports_interval_holds_the_truth_in_nine_of_ten_enrolments(name: str) -> None:
    try:
        sets_folder()
    except FileNotFoundError as err:
        pytest.skip(str(err))
    embedder = load_embedder()
    for clips in read_set(name, embedder, 25):
        promises = list(simulate(clips, embedder, 40))
        assert np.mean([promise.kept for promise in promises]) >= 0.9
        assert np.mean([promise.floor_kept for promise in promises]) >= 0.95
