"""Scores of events, windows and cadences."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from varistar.experiments.gates import cluster_bootstrap
from varistar.flares.matching import (
    MatchSettings,
    average_precision,
    average_precision_of_events,
    cadence_scores,
    event_scores,
    match_events,
    rates_by,
    reliability,
    roc_auc,
    window_scores,
)
from varistar.foundation.errors import DataError

MINUTE = 1.0 / 1440.0
LABELS = {
    "star_id": pl.String,
    **dict.fromkeys(("tpeak", "tstart", "tstop", "peak_snr"), pl.Float64),
}


def events_at(*minutes: float, star: str = "a", half: float = 0.0) -> pl.DataFrame:
    t = 1500.0 + MINUTE * np.array(minutes, dtype=float)
    rows = {"star_id": [star] * len(t), "tpeak": t, "tstart": t - half * MINUTE, "tstop": t + half * MINUTE}
    return pl.DataFrame(rows, schema={name: LABELS[name] for name in rows})


def labels_at(*minutes: float, star: str = "a", snr: list[float | None] | float = 10.0) -> pl.DataFrame:
    t = 1500.0 + MINUTE * np.array(minutes, dtype=float)
    snrs = [snr] * len(t) if isinstance(snr, float) else snr
    return pl.DataFrame({"star_id": [star] * len(t), "tpeak": t, "peak_snr": snrs}, schema_overrides=LABELS).select(
        "star_id",
        "tpeak",
        pl.lit(None, pl.Float64).alias("tstart"),
        pl.lit(None, pl.Float64).alias("tstop"),
        "peak_snr",
    )


def pairs_of(matched) -> list[tuple[int, int]]:
    found = matched.events.with_row_index("row").filter("hit").select("row", "label").rows()
    back = matched.labels.with_row_index("row").filter("hit").select("event", "row").rows()
    assert sorted(found) == sorted(back)
    return sorted(found)


def best_by_trial(events: pl.DataFrame, labels: pl.DataFrame, given: MatchSettings) -> tuple[int, int, float]:
    """Of all ways to pair them: most pairs, then most labels that count, then least distance."""
    e, a, b = (events[name].to_numpy() for name in ("tpeak", "tstart", "tstop"))
    t, snr = labels["tpeak"].to_numpy(), labels["peak_snr"].to_numpy()
    best = (0, 0, 0.0)
    for chosen in itertools.product(range(-1, len(t)), repeat=len(e)):
        used = [j for j in chosen if j >= 0]
        if len(set(used)) < len(used):
            continue
        distance = 0.0
        for i, j in enumerate(chosen):
            if j < 0:
                continue
            apart = abs(e[i] - t[j]) * 1440.0
            if not (apart <= given.tolerance_minutes + 1e-5 or (given.overlap and a[i] <= t[j] <= b[i])):
                break
            distance += apart
        else:
            best = max(best, (len(used), sum(bool(snr[j] >= given.faint_snr) for j in used), -distance))
    return best


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=5),
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([2.0, 10.0])), max_size=4),
    st.booleans(),
)
def test_the_pairing_is_the_best_of_all(found, known, overlap):
    events = pl.concat([events_at(t + 0.1, half=half) for t, half in found] or [events_at()])
    labels = labels_at(*(t for t, _ in known), snr=[snr for _, snr in known])
    asked = MatchSettings(overlap=overlap)
    matched = match_events(events, labels, asked)
    pairs = pairs_of(matched)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    distance = sum(abs(events["tpeak"][i] - labels["tpeak"][j]) * 1440.0 for i, j in pairs)
    counted = sum(labels["peak_snr"][j] >= 5.0 for _, j in pairs)
    n, n_counted, least = best_by_trial(events, labels, asked)
    assert (len(pairs), counted) == (n, n_counted) and distance == pytest.approx(-least, abs=1e-4)


def test_greedy_pairing_would_lose_one():
    """The second event is nearer to the first label, which is all that the first event has."""
    matched = match_events(events_at(0, 7), labels_at(5, 12), MatchSettings(overlap=False))
    assert pairs_of(matched) == [(0, 0), (1, 1)]


def test_six_minutes_and_intervals():
    assert pairs_of(match_events(events_at(0), labels_at(6), MatchSettings())) == [(0, 0)]
    assert pairs_of(match_events(events_at(0), labels_at(6.1), MatchSettings())) == []
    wide = events_at(0, half=20)
    assert pairs_of(match_events(wide, labels_at(20), MatchSettings())) == [(0, 0)]
    assert pairs_of(match_events(wide, labels_at(20), MatchSettings(overlap=False))) == []
    whole = labels_at(30).with_columns(tstart=pl.col("tpeak") - 12 * MINUTE, tstop=pl.col("tpeak") + MINUTE)
    assert pairs_of(match_events(wide, whole, MatchSettings())) == [(0, 0)]
    assert pairs_of(match_events(wide, whole.with_columns(tstart=None), MatchSettings())) == []


def test_stars_are_apart():
    events = pl.concat([events_at(0, star="a"), events_at(0, star="b")])
    labels = pl.concat([labels_at(0, star="b"), labels_at(0, star="c")])
    assert pairs_of(match_events(events, labels, MatchSettings())) == [(1, 0)]


def test_duplicates_are_false_and_rows_of_one_flare_are_not_missed_leniently():
    events = pl.concat([events_at(0, 2, 50), events_at(100, half=15)])
    labels = labels_at(1, 95, 100, 110)
    scores = event_scores(match_events(events, labels, MatchSettings()), seed=1)
    assert scores["true_positives"] == 2 and scores["duplicates"] == 1
    assert scores["false_positives"] == 2 and scores["false_negatives"] == 2
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0.5, 0.5, 0.5)
    assert scores["recall_lenient"] == 1.0
    assert scores["precision_interval"] is None  # one star says nothing of how stars differ


def test_what_is_faint_or_missing_from_the_list_does_not_count():
    events = events_at(0, 100, 200, 300).with_columns(peak_snr=pl.Series([9.0, 3.0, 8.0, 2.0]))
    labels = labels_at(0, 100, 400, 500, 600, snr=[9.0, 3.0, 3.0, 9.0, None])
    plain = event_scores(match_events(events, labels, MatchSettings()), seed=1)
    assert (plain["true_positives"], plain["false_positives"], plain["false_negatives"]) == (2, 2, 3)
    assert (plain["counted_events"], plain["counted_labels"]) == (3, 3)
    assert (plain["counted_precision"], plain["counted_recall"]) == (1 / 3, 1 / 3)
    deep = event_scores(match_events(events, labels, MatchSettings(strong_snr=5.0)), seed=1)
    assert deep["counted_events"] == 2 and deep["counted_precision"] == 0.5
    assert {k: v for k, v in deep.items() if "counted" not in k} == {
        k: v for k, v in plain.items() if "counted" not in k
    }


def test_a_faint_label_takes_no_event_from_one_that_counts():
    matched = match_events(events_at(0), labels_at(1, 5, snr=[3.0, 9.0]), MatchSettings())
    assert pairs_of(matched) == [(0, 1)] and matched.events["counts"].all()


def many_stars(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    events, labels = [], []
    for k in range(12):
        t = np.sort(rng.choice(np.arange(0, 4000, 20), 30, replace=False))
        known, found = rng.random(30) < 0.8, rng.random(30) < 0.3 + 0.05 * k
        labels.append(labels_at(*t[known], star=f"s{k}"))
        events.append(events_at(*t[found] + 1.0, star=f"s{k}").with_columns(p=pl.Series(rng.random(int(found.sum())))))
    return pl.concat(events), pl.concat(labels)


def test_rates_and_their_intervals_by_hand():
    events, labels = many_stars(0)
    matched = match_events(events, labels, MatchSettings())
    scores = event_scores(matched, seed=3, n=300)
    known = set(zip(labels["star_id"], (labels["tpeak"] * 1440).round(0), strict=True))
    hit = [(s, t) in known for s, t in zip(events["star_id"], (events["tpeak"] * 1440 - 1).round(0), strict=True)]
    tp = sum(hit)
    assert scores["true_positives"] == tp > 50
    assert scores["f1"] == pytest.approx(2 * tp / (len(events) + len(labels)))
    rate, low, high = cluster_bootstrap(np.array(hit, float), events["star_id"].to_numpy(), 3, 300)
    assert scores["precision"] == rate and scores["precision_interval"] == (low, high)
    low, high = scores["f1_interval"]
    assert low < scores["f1"] < high and high - low > 0.02
    shuffled = match_events(events.sample(fraction=1.0, shuffle=True, seed=1), labels.reverse(), MatchSettings())
    again = event_scores(shuffled, seed=3, n=300)
    assert all(again[name] == pytest.approx(value) for name, value in scores.items())


def test_nothing_found_and_nothing_known():
    events, labels = events_at(0, 100), labels_at(0, 100)
    none = event_scores(match_events(events.clear(), labels, MatchSettings()), seed=1)
    assert none["precision"] is None and none["recall"] == none["f1"] == 0.0 and none["false_negatives"] == 2
    none = event_scores(match_events(events, labels.clear(), MatchSettings()), seed=1)
    assert none["recall"] is None and none["precision"] == none["f1"] == 0.0 and none["counted_precision"] == 0.0
    none = event_scores(match_events(events.clear(), labels.clear(), MatchSettings()), seed=1)
    assert none["f1"] is None and none["f1_interval"] is None and none["n_events"] == 0


def test_average_precision_of_events_is_that_of_labels_never_found_too():
    events, labels = many_stars(1)
    matched = match_events(events, labels, MatchSettings())
    missed = len(labels) - int(matched.labels["hit"].sum())
    truth = np.append(matched.events["hit"].to_numpy(), np.ones(missed, bool))
    # sklearn, with the labels that nothing found behind every event: their precision must not count
    precision, recall, _ = metrics.precision_recall_curve(
        truth, np.append(matched.events["p"].to_numpy(), np.full(missed, -1))
    )
    wanted = -np.sum(np.diff(recall)[1:] * precision[1:-1]) if missed else None
    assert average_precision_of_events(matched) == pytest.approx(wanted)
    assert average_precision_of_events(match_events(events.clear(), labels, MatchSettings())) == 0.0
    assert average_precision_of_events(match_events(events, labels.clear(), MatchSettings())) is None


def test_rates_by_another_quantity():
    rows = pl.DataFrame(
        {
            "star_id": ["a", "a", "b", "b", "c", "c"],
            "amplitude": [0.005, 0.01, 0.05, 0.1, 0.5, None],
            "hit": [False, True, True, False, True, True],
            "kind": ["M", "M", "K", None, "K", "M"],
        }
    )
    table = rates_by(rows, "amplitude", edges=(0.01, 0.1, 1.0))
    assert table.select("group", "n", "stars", "rate").rows() == [
        ("<0.01", 1, 1, 0.0),
        ("0.01-0.1", 2, 2, 1.0),
        ("0.1-1", 2, 2, 0.5),
        ("unknown", 1, 1, 1.0),
    ]
    assert table["low"][2] == 0.0 and table["high"][2] == 1.0
    table = rates_by(rows, "kind")
    assert table.select("group", "n", "rate").rows() == [("K", 2, 1.0), ("M", 3, 2 / 3), ("unknown", 1, 0.0)]
    numbers = rates_by(rows.with_columns(sector=pl.Series([10, 9, 9, 10, 10, 9])), "sector")
    assert numbers["group"].to_list() == ["9", "10"]
    assert len(rates_by(rows.clear(), "amplitude", edges=(0.01,))) == 0
    one = rates_by(rows.head(2), "kind", outcome="hit")
    assert one["low"].to_list() == [None]


scores_of = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 0.5000001, 0.7, 1.0])), min_size=1, max_size=60
)


@settings(deadline=None)
@given(scores_of)
def test_window_and_cadence_scores_are_scikit_learn_s(drawn):
    truth, p = np.array([t for t, _ in drawn]), np.array([p for _, p in drawn])
    called = p > 0.5
    scores = window_scores(truth, p)
    (tn, fp), (fn, tp) = metrics.confusion_matrix(truth, called, labels=[False, True])
    counted = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert tuple(scores[name] for name in counted) == (tn, fp, fn, tp)
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(truth, called))
    for name, function in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    ):
        if scores[name] is not None:
            assert scores[name] == pytest.approx(function(truth, called))
    assert (scores["precision"] is None) == (not called.any()) and (scores["recall"] is None) == (not truth.any())
    if truth.any():
        assert scores["average_precision"] == pytest.approx(metrics.average_precision_score(truth, p))
    if truth.any() and not truth.all():
        assert scores["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, p))
    masked = np.append(p, [np.nan, np.nan])
    cadences = cadence_scores(np.append(truth, [True, False]), masked)
    assert cadences["n_unscored"] == 2 and cadences["dice"] == scores["f1"]
    if (truth | called).any():
        assert cadences["iou"] == pytest.approx(metrics.jaccard_score(truth, called))
    else:
        assert cadences["iou"] is None


def test_large_random_scores_are_scikit_learn_s():
    rng = np.random.default_rng(0)
    truth, p = rng.random(20000) < 0.05, np.round(rng.random(20000), 3)
    assert average_precision(truth, p) == pytest.approx(metrics.average_precision_score(truth, p), rel=1e-12)
    assert roc_auc(truth, p) == pytest.approx(metrics.roc_auc_score(truth, p), rel=1e-12)


def test_reliability_of_honest_and_of_bold_scores():
    rng = np.random.default_rng(2)
    p = rng.random(20000)
    truth = rng.random(20000) < p
    table, summary = reliability(truth, p)
    assert table["n"].to_list() == [2000] * 10
    inside = (table["low"] <= table["p_mean"]) & (table["p_mean"] <= table["high"])
    assert inside.sum() >= 8 and summary["ece"] < 0.015
    assert summary["brier"] == pytest.approx(metrics.brier_score_loss(truth, p))
    bold = np.where(p > 0.5, 0.99, 0.01)
    table, summary = reliability(truth, bold)
    assert len(table) == 2 and table["n"].sum() == 20000
    assert summary["ece"] == pytest.approx(0.24, abs=0.01)
    assert summary["ece"] == pytest.approx(
        float(np.mean([abs(truth[bold == q].mean() - q) for q in (0.01, 0.99)])), 0.05
    )


def test_reliability_does_not_depend_on_the_order():
    rng = np.random.default_rng(3)
    p = rng.choice([0.0, 0.1, 0.5, 0.6, 1.0], 300)
    truth = rng.random(300) < p
    order = rng.permutation(300)
    table, summary = reliability(truth, p, bins=7)
    again, same = reliability(truth[order], p[order], bins=7)
    assert table.equals(again) or np.allclose(table.to_numpy(), again.to_numpy())
    assert summary == pytest.approx(same)
    for low, high, n, mean, fraction in table.select("p_low", "p_high", "n", "p_mean", "fraction").iter_rows():
        inside = (p >= low) & (p <= high)
        assert inside.sum() == n and p[inside].mean() == pytest.approx(mean)
        assert truth[inside].mean() == pytest.approx(fraction)


def test_mistakes_are_told():
    with pytest.raises(DataError, match="the events lack the column 'tstart'"):
        match_events(events_at(0).drop("tstart"), labels_at(0), MatchSettings())
    with pytest.raises(DataError, match="the events lack the column 'peak_snr'"):
        match_events(events_at(0), labels_at(0), MatchSettings(strong_snr=5.0))
    with pytest.raises(DataError, match="the labels have a peak time that is null or not finite"):
        match_events(events_at(0), labels_at(0).with_columns(tpeak=pl.lit(None, pl.Float64)), MatchSettings())
    with pytest.raises(DataError, match=r"one p for each truth, got \(2,\) and \(3,\)"):
        window_scores([True, False], [0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="finite p, got nan"):
        window_scores([True, False], [0.1, np.nan])
