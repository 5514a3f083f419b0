"""Fuzz: 1,000 damaged classical models. Each opens and predicts, or ends in an error of Pippin; never a crash or a hang.

They run in batches, each in a process of its own: a crash of an engine is then seen, and named by its seed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lowering.classical.specs import DOUBLE, INT, INTS, STRING, STRINGS, pipeline
from lowering.classical.test_boxes import suppression
from lowering.classical.test_categories import encoder, mapping
from lowering.classical.test_imputer import imputer
from lowering.classical.test_nearest_neighbors import neighbors
from lowering.classical.test_pipelines import renamed
from lowering.classical.test_probit_and_recommender import FILMS, glm, probit, recommender
from lowering.classical.test_support_vectors import classifier, sparse_model
from lowering.classical.test_tree_ensemble import many_trees, stump
from lowering.classical.test_vectors import dict_vectorizer, extractor, scaler, vectorizer

pytestmark = pytest.mark.process

CASES, BATCHES = 1_000, 4
SECONDS = 400


def models():
    joined = renamed(vectorizer([("n", 1), ("s", 2)], {"n": INT, "s": INTS}, 3), y="x")
    return {
        "trees": many_trees(3),
        "stump": stump("treeEnsembleRegressor", {"y": DOUBLE}, 1),
        "svm": classifier(),
        "sparse_svm": sparse_model(),
        "glm": glm([[1.0, 2.0]], [0.5], ["a", "b"]),
        "neighbors": neighbors([[0, 0, 1], [1, 2, 3]], ["a", "b"], 1),
        "scaler": scaler([1], [1, 2, 3, 4]),
        "encoder": encoder(["a", "b"], INTS),
        "mapping": mapping({"a": 1}, 0),
        "imputer": imputer(STRINGS, "imputedStringDictionary", {"a": 1.0}),
        "dict_vectorizer": dict_vectorizer(["a", "b"], STRINGS, (2,)),
        "extractor": extractor([1], DOUBLE),
        "boxes": suppression((2, 5)),
        "probit": probit(),
        "recommender": recommender(FILMS),
        "pipeline": pipeline(
            [renamed(encoder(["a", "b"], INTS), x="s", y="s"), joined, many_trees(2)],
            {"n": INT, "s": STRING},
            {"y": DOUBLE},
        ),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("fuzz_classical")
    for name, spec in models().items():
        (made / f"{name}.mlmodel").write_bytes(spec.SerializeToString())
    return made


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_classical_models(batch, folder):
    count = CASES // BATCHES
    script = Path(__file__).with_name("fuzz_classical_worker.py")
    arguments = [sys.executable, str(script), str(folder), str(batch * count), str(count)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"after seed {done.stdout.split()[-1:]}: {done.stderr[-2000:]}"
    assert done.stdout.split()[-1] == "done"
