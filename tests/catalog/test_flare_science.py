"""The science of a flare catalog: on flares drawn from a known law, what was put in comes out."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.catalog.flare_laws import energy_laws, energy_samples
from varistar.catalog.flare_survey import INJECTED, recover_survey
from varistar.catalog.flare_truth import judge_flares, judge_periods
from varistar.flares.completeness import CompletenessSurface
from varistar.flares.labels import LABELS
from varistar.foundation.errors import DataError
from varistar.physics.flares import flare_energy

N_STARS, DAYS, ALPHA = 12, 50.0, 1.9
#: Half the flares of 100 s are found, none of 10 s, all of 1000 s.
SURFACE = CompletenessSurface(
    np.array([10.0, 100.0, 1000.0]), np.array([1.0, 2.0]), np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
)


@pytest.fixture(scope="module")
def drawn() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Stars, what was found, and all true flares: energies by a power law, found as often as the surface says."""
    rng = np.random.default_rng(3)
    names = [f"star {i}" for i in range(N_STARS)]
    teff, radius = np.repeat([3300.0, 5500.0], N_STARS // 2), np.repeat([0.4, 1.0], N_STARS // 2)
    stars = pl.DataFrame(
        {
            "star_id": names,
            "teff": teff,
            "radius": radius,
            "searched_days": DAYS,
            "noise": 0.001,
            "cadence_minutes": 2.0,
        }
    ).with_columns(
        teff_bin=pl.Series(["2300-4000"] * 6 + ["4000+"] * 6, dtype=pl.Enum(["2300-4000", "4000+"])),
        age_bin=pl.lit(None, pl.Enum(["1-20", "20+"])),
    )
    flares, labels = [], []
    for name, warm, size in zip(names, teff, radius, strict=True):
        duration = 5.0 * rng.uniform(size=3000) ** (-1.0 / (ALPHA - 1.0))
        energy = flare_energy(duration, warm, size)
        found = rng.uniform(size=3000) < SURFACE.of_star(0.001, 2.0 / 1440.0)(duration)
        table = pl.DataFrame({"star_id": [name] * 3000, "energy_erg": energy, "p": 1.0, "peak_snr": 10.0})
        flares.append(table.filter(pl.Series(found)))
        labels.append(table)
    return stars, pl.concat(flares), pl.concat(labels)


def test_the_law_that_was_drawn_is_recovered(drawn: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    stars, flares, labels = drawn
    frequencies, slopes = energy_laws(stars, energy_samples(stars, flares, SURFACE), labels)
    assert slopes["group"].to_list() == ["all", "teff 2300-4000", "teff 4000+"]
    assert slopes["n_stars"].to_list() == [12, 6, 6]
    for row in slopes.iter_rows(named=True):
        error = (row["high"] - row["low"]) / 4
        assert abs(row["alpha"] - ALPHA) < 4 * error
        assert abs(row["true_alpha"] - ALPHA) < 4 * (row["true_high"] - row["true_low"]) / 4
        assert row["low"] < row["alpha"] < row["high"]
    uncorrected = energy_laws(stars, energy_samples(stars, flares, SURFACE), labels)[1]
    assert uncorrected.equals(slopes), "the same every time"
    own = frequencies.filter(pl.col("group") == "teff 2300-4000").drop_nulls("rate_per_day")
    scale = flare_energy(np.ones(1), 3300.0, 0.4)[0]
    expected = 3000 / DAYS * (own["size"].to_numpy() / scale / 5.0) ** (1.0 - ALPHA)
    middle = (own["n"] > 300).to_numpy()
    assert own["rate_per_day"].to_numpy()[middle] == pytest.approx(expected[middle], rel=0.2)


def test_a_star_without_a_temperature_has_no_energies(drawn: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    stars, flares, _ = drawn
    stars = stars.with_columns(teff=pl.when(pl.col("star_id") == "star 0").then(None).otherwise(pl.col("teff")))
    assert "star 0" not in energy_samples(stars, flares, SURFACE)


def found_at(times: list[float], p: list[float]) -> pl.DataFrame:
    columns = {"tpeak": times, "tstart": [t - 0.002 for t in times], "tstop": [t + 0.004 for t in times], "p": p}
    return pl.DataFrame({"star_id": ["a"] * len(times), **columns, "peak_snr": [20.0] * len(times)})


def test_flares_are_judged_by_those_that_can_be_seen() -> None:
    rows = {"star_id": ["a"] * 4, "tpeak": [1.0, 2.0, 3.0, 4.0], "peak_snr": [20.0, 20.0, 2.0, 0.5], "source": "test"}
    labels = pl.DataFrame(rows).select(
        pl.col(name).cast(dtype) if name in rows else pl.lit(None, dtype).alias(name) for name, dtype in LABELS.items()
    )
    stars = pl.DataFrame({"star_id": ["a"], "searched_days": [10.0]})
    judged = judge_flares(found_at([1.0, 4.0, 7.0], [0.9, 0.8, 0.4]), labels, stars)
    assert judged.summary["true_positives"] == 1, "the flare below the noise is nobody's"
    assert judged.summary["n_labels"] == 3
    assert judged.summary["counted_recall"] == 0.5
    assert judged.summary["false_per_day"] == pytest.approx(0.2)
    assert judged.summary["expected_purity"] == pytest.approx(0.7)
    assert set(judged.bins["fraction"]) == {"completeness", "purity"}
    nothing = judge_flares(found_at([], []).cast({"p": pl.Float64, "star_id": pl.String}), labels, stars)
    assert nothing.summary["recall"] == 0.0


def test_periods_are_judged_by_what_the_spots_show() -> None:
    stars = pl.DataFrame(
        {
            "star_id": list("abcde"),
            "rotation_days": [2.0, 2.3, 1.0, 5.0, None],
            "rotation_accepted": [True, True, True, True, False],
        }
    )
    truth = pl.DataFrame(
        {
            "star_id": list("abcde"),
            "kind": ["flaring"] * 3 + ["quiet"] * 2,
            "shown_period_days": [2.1, 2.0, 2.0, None, 9.0],
        }
    )
    table, scores = judge_periods(stars, truth)
    assert table["right"].to_list() == [True, False, False, False, False]
    assert (scores["accepted"], scores["accepted_with_rotation"], scores["right"]) == (4, 3, 1)
    assert scores["doubled_or_halved"] == 1
    assert scores["accepted_by_kind"] == {"flaring": 3, "quiet": 1}


def test_flares_are_injected_where_the_network_can_find_them(flare_model: Path, tmp_path: Path) -> None:
    from varistar.lightcurves.shards import write_shard

    from .test_flares import spotted  # type: ignore[import-not-found]

    write_shard(tmp_path / "part-00000.parquet", spotted("quiet", False, 2))
    judged = recover_survey([tmp_path / "part-00000.parquet"], flare_model, INJECTED, accelerator="cpu")
    by_snr = judged.group_by(pl.col("peak_snr") > 10).agg(pl.col("recovered").mean(), pl.len()).sort("peak_snr")
    assert by_snr["recovered"][0] < 0.7 < 0.85 < by_snr["recovered"][1]
    with pytest.raises(DataError, match="no star into which flares can be injected"):
        recover_survey([], flare_model, INJECTED, accelerator="cpu")
