"""A classifier that tries to tell simulated light curves from real ones, and what it goes by.

Two simple classifiers, a logistic regression and a random forest, see the quantities of a star or season, and the mean
of their probabilities is the score. Every score is given by classifiers that never saw the star, nor, of a simulated
one, another star of its field, since the stars of a field share their exposures. An area under the ROC curve (AUC) of
0.5 means that they cannot be told apart, 1 that every one is told.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.foundation.errors import DataError

from .compare import draw_counts
from .names import QUANTITIES
from .residuals import Array

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

#: The rows that are seen, and those that are not.
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

FOLDS = 5
#: How often the folds are drawn anew.
REPEATS = 3
TREES = 50
RESAMPLES = 500
#: A quantity is shown to the classifiers where at least this part of both samples has it.
LEAST_KNOWN = 0.5


@dataclass(frozen=True)
class Verdict:
    """How well two samples can be told apart.

    Attributes
    ----------
    auc, interval : area under the ROC curve and its 95 % interval by a bootstrap of clusters
    by_method : the AUC of each classifier alone
    scores : `star_id` (and `season`), `is_real`, `cluster` and `score`, from 0 (simulated) to 1 (real)
    telltale : `quantity`, `group`; `importance`, the AUC lost when its values are shuffled among unseen rows; `alone`,
        the AUC of the quantity by itself, below 0.5 where simulated values are larger; the most important first
    groups : `group`; `importance`, that of its quantities shuffled together; `alone`, the AUC of classifiers that see
        nothing else
    """

    auc: float
    interval: tuple[float, float]
    by_method: Mapping[str, float]
    scores: pl.DataFrame
    telltale: pl.DataFrame
    groups: pl.DataFrame


def tell_apart(
    real: pl.DataFrame, simulated: pl.DataFrame, seed: int = 0, repeats: int = REPEATS, trees: int = TREES
) -> Verdict:
    """Train and judge the classifiers.

    Parameters
    ----------
    real, simulated : rows of stars or seasons: `star_id`, `cluster`, and columns of `QUANTITIES`. Rows of one cluster
        are seen together or not at all. What the star itself decides (`intrinsic`) is not shown.
    seed : of folds, trees, shuffling and bootstrap
    repeats, trees : how often the folds are drawn anew, and trees of a forest

    Raises
    ------
    DataError
        When a sample has fewer than two clusters, or no quantity in common.
    """
    names = _shown(real, simulated)
    label = np.repeat([1, 0], [real.height, simulated.height])
    cluster = np.concatenate([[f"real {c}" for c in real["cluster"]], [f"simulated {c}" for c in simulated["cluster"]]])
    clusters = min(len(np.unique(cluster[label == 1])), len(np.unique(cluster[label == 0])))
    if clusters < 2 or not names:
        raise DataError("telling real from simulated stars needs at least two of each, and a quantity that both have")
    features = np.concatenate([_features(sample, names) for sample in (real, simulated)])
    kinds = [QUANTITIES[name].group for name in names]
    groups = list(dict.fromkeys(kinds))
    members = [np.flatnonzero([kind == group for kind in kinds]) for group in groups]
    shuffled = [np.array([i]) for i in range(len(names))] + members
    folds = [list(_folds(label, cluster, min(FOLDS, clusters), seed + repeat)) for repeat in range(repeats)]
    each = [_score_unseen(features, label, some, shuffled, seed + repeat, trees) for repeat, some in enumerate(folds)]
    by_method = np.mean([scores for scores, _ in each], axis=0)
    score = by_method.mean(axis=0)
    lost = np.mean([[auc(label, s.mean(axis=0)) - auc(label, o) for o in others] for s, others in each], axis=0)
    one_by_one = [_alone(features[:, i], label) for i in range(len(names))]
    of_groups = [_score_unseen(features[:, some], label, folds[0], [], seed, trees)[0].mean(axis=0) for some in members]
    columns = [name for name in ("star_id", "season") if name in real.columns]
    return Verdict(
        auc=auc(label, score),
        interval=_interval(label, score, cluster, seed),
        by_method={method: auc(label, by_method[i]) for i, method in enumerate(_methods(seed, trees))},
        scores=pl.concat([real.select(columns), simulated.select(columns)]).with_columns(
            is_real=pl.Series(label == 1), cluster=pl.Series(cluster), score=pl.Series(score)
        ),
        telltale=pl.DataFrame(
            {"quantity": names, "group": kinds, "importance": lost[: len(names)], "alone": one_by_one}
        ).sort("importance", "quantity", descending=[True, False]),
        groups=pl.DataFrame(
            {
                "group": groups,
                "importance": lost[len(names) :],
                "alone": [auc(label, found) for found in of_groups],
            }
        ).sort("alone", "group", descending=[True, False]),
    )


def auc(label: NDArray[np.int64], score: Array, weight: Array | None = None) -> float:
    """Area under the ROC curve: the chance that a real row has the higher score, ties counting half.

    Parameters
    ----------
    label : 1 real, 0 simulated, shape (m,)
    score, weight : shape (m,)
    """
    weight = np.ones(len(score)) if weight is None else weight
    order, tied = np.unique(score, return_inverse=True)
    real = np.bincount(tied, weight * (label == 1), minlength=len(order))
    simulated = np.bincount(tied, weight * (label == 0), minlength=len(order))
    below = np.cumsum(simulated) - 0.5 * simulated
    return float(real @ below / (real.sum() * simulated.sum()))


def _shown(real: pl.DataFrame, simulated: pl.DataFrame) -> list[str]:
    """The quantities that the classifiers see."""
    return [
        name
        for name, quantity in QUANTITIES.items()
        if not quantity.intrinsic
        and all(s[name].count() >= max(LEAST_KNOWN * s.height, 1) for s in (real, simulated))
        and pl.concat([real[name], simulated[name]]).n_unique() > 1
    ]


def _features(sample: pl.DataFrame, names: list[str]) -> Array:
    """The quantities as numbers, shape (m, names), ratios as logarithms, NaN where unknown."""
    columns = []
    for name in names:
        values = sample[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        is_ratio = QUANTITIES[name].scale == "ratio"
        columns.append(np.log10(np.maximum(values, 1e-9)) if is_ratio else values)
    return np.stack(columns, axis=1)


def _methods(seed: int, trees: int) -> dict[str, "Pipeline"]:
    """The classifiers; a quantity that a row lacks has the median of the rows that were seen."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    forest = RandomForestClassifier(trees, min_samples_leaf=3, class_weight="balanced", random_state=seed, n_jobs=1)
    linear = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    return {
        "logistic regression": make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), linear),
        "random forest": make_pipeline(SimpleImputer(strategy="median"), forest),
    }


def _folds(label: NDArray[np.int64], cluster: NDArray, folds: int, seed: int) -> Iterator[Fold]:
    """Which rows are seen and which are not, in turn; clusters stay whole, and folds have alike shares of real rows."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    yield from splitter.split(np.zeros((len(label), 1)), label, cluster)


def _score_unseen(
    features: Array, label: NDArray[np.int64], folds: Sequence[Fold], shuffled: Sequence[NDArray], seed: int, trees: int
) -> tuple[Array, Array]:
    """Scores of each classifier, shape (methods, m), and their means with sets of columns shuffled, (sets, m)."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    scores = np.zeros((len(_methods(seed, trees)), len(label)))
    others = np.zeros((len(shuffled), len(label)))
    for seen, unseen in folds:
        rows = np.repeat(features[None, unseen], len(shuffled) + 1, axis=0)
        for copy, columns in zip(rows[1:], shuffled, strict=True):
            copy[:, columns] = copy[rng.permutation(len(unseen))][:, columns]
        for i, method in enumerate(_methods(seed, trees).values()):
            # Matrices as small as these only keep threads waiting for each other.
            with threadpool_limits(1):
                method.fit(features[seen], label[seen])
                found = method.predict_proba(rows.reshape(-1, features.shape[1]))[:, 1].reshape(len(rows), -1)
            scores[i, unseen] = found[0]
            others[:, unseen] += found[1:] / len(scores)
    return scores, others


def _alone(values: Array, label: NDArray[np.int64]) -> float:
    """The AUC of one quantity, of the rows that have it."""
    known = np.isfinite(values)
    return auc(label[known], values[known])


def _interval(label: NDArray[np.int64], score: Array, cluster: NDArray, seed: int) -> tuple[float, float]:
    """95 % of the AUC over bootstrap samples of clusters, real and simulated ones drawn apart."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((RESAMPLES, len(label)))
    for kind in (1, 0):
        counts[:, label == kind] = draw_counts(rng, cluster[label == kind], RESAMPLES)
    drawn = [auc(label, score, weight) for weight in counts]
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))
