"""Poorer light curves: what is taken away, what is added, and that each choice leaves the others alone."""

from typing import Any

import numpy as np
import pytest

from varistar.lightcurves.table import LightCurves
from varistar.periods.augment import FEWEST_POINTS, NEAR_DAYS, Augmented, augment
from varistar.periods.sample_settings import Augmentation

N_STARS, N_POINTS = 40, 400


def sky(n_stars: int = N_STARS, n_points: int = N_POINTS, seed: int = 1) -> LightCurves:
    """Stars of three cameras and constant flux, at random times."""
    rng, m = np.random.default_rng(seed), n_stars * n_points
    return LightCurves(
        star_id=tuple(f"star-{i}" for i in range(n_stars)),
        offsets=np.arange(n_stars + 1) * n_points,
        columns={
            "time": np.sort(rng.uniform(0, 1800, (n_stars, n_points))).ravel(),
            "flux": np.full(m, 10.0, np.float32),
            "flux_err": rng.uniform(0.1, 0.3, m).astype(np.float32),
            "camera": rng.choice(["ba", "bb", "bc"], m),
        },
        time_system="MJD_UTC",
    )


def augmented(light_curves: LightCurves, lenders: LightCurves | None = None, **settings: Any) -> Augmented:
    streams = [np.random.default_rng([7, i]) for i in range(len(light_curves))]
    return augment(light_curves, Augmentation(**settings), streams, lenders or light_curves)


def shares_kept(done: Augmented) -> np.ndarray:
    return done.kept.reshape(-1, N_POINTS).mean(axis=1)


def test_nothing_is_done_by_default() -> None:
    stars = sky()
    done = augmented(stars)
    assert done.kept.all() and np.all(done.noise_factor == 1)
    for name, values in stars.columns.items():
        np.testing.assert_array_equal(done.light_curves[name], values)


def test_what_is_left_are_the_points_that_were_kept() -> None:
    stars = sky()
    done = augmented(stars, drop_epochs=0.5, drop_camera=0.5, borrow_window=0.5)
    expected = stars.where(done.kept)
    assert done.light_curves.star_id == stars.star_id
    np.testing.assert_array_equal(done.light_curves.offsets, expected.offsets)
    for name, values in expected.columns.items():
        np.testing.assert_array_equal(done.light_curves[name], values)


def test_the_share_of_dropped_points_is_uniform() -> None:
    lost = 1 - shares_kept(augmented(sky(400), drop_epochs=0.6))
    np.testing.assert_allclose(np.quantile(lost, [0.25, 0.5, 0.75]), [0.15, 0.3, 0.45], atol=0.04)
    assert lost.max() <= 0.6 + 4 * np.sqrt(0.24 / N_POINTS)


def test_one_camera_is_left_out_where_there_are_several() -> None:
    stars = sky()
    done = augmented(stars, drop_camera=1.0)
    lost = set()
    for i in range(N_STARS):
        points = slice(*stars.offsets[i : i + 2])
        gone = set(stars["camera"][points]) - set(done.light_curves.star(i)["camera"])
        assert len(gone) == 1
        np.testing.assert_array_equal(done.kept[points], stars["camera"][points] != gone.copy().pop())
        lost |= gone
    assert lost == {"ba", "bb", "bc"}


@pytest.mark.parametrize("column", [{"camera": np.full(N_STARS * N_POINTS, "ba")}, {}])
def test_the_only_camera_stays(column: dict[str, np.ndarray]) -> None:
    stars = sky()
    columns = {name: values for name, values in stars.columns.items() if name != "camera"} | column
    only = LightCurves(stars.star_id, stars.offsets, columns, stars.time_system)
    assert augmented(only, drop_camera=1.0).kept.all()


def test_errors_stay_honest() -> None:
    """The added noise and the old errors make the new ones: their ratio has unit variance, to 2.5 sqrt(2 / 16000)."""
    stars = sky()
    rng = np.random.default_rng(5)
    measured = stars["flux"] + stars["flux_err"] * rng.standard_normal(len(stars["flux"]))
    noisy = LightCurves(stars.star_id, stars.offsets, stars.columns | {"flux": measured.astype(np.float32)}, "MJD_UTC")
    done = augmented(noisy, noise=1.0)
    factor = np.repeat(done.noise_factor, N_POINTS)
    np.testing.assert_allclose(done.light_curves["flux_err"], stars["flux_err"] * factor, rtol=1e-6)
    assert np.var((done.light_curves["flux"] - 10.0) / done.light_curves["flux_err"]) == pytest.approx(1.0, abs=0.03)
    added = (done.light_curves["flux"] - noisy["flux"]) / (stars["flux_err"] * np.sqrt(factor**2 - 1))
    assert np.var(added) == pytest.approx(1.0, abs=0.03)


def test_the_noise_factor_is_log_uniform() -> None:
    share = np.log(augmented(sky(400), noise=1.0).noise_factor) / np.log(3)
    assert share.min() >= 0 and share.max() <= 1
    np.testing.assert_allclose(np.quantile(share, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.09)


def test_a_borrowed_window_is_that_of_another_star() -> None:
    """By brute force: the points kept are those near some epoch of one other star, and of no star of the same name."""
    stars, lenders = sky(12), sky(12, seed=2)
    done = augmented(stars, lenders, borrow_window=1.0)
    found = []
    for i in range(12):
        time, kept = stars.star(i)["time"], done.kept[slice(*stars.offsets[i : i + 2])]
        distances = [np.abs(time[:, None] - lenders.star(j)["time"]).min(axis=1) for j in range(12)]
        fitting = [j for j in range(12) if np.array_equal(distances[j] <= NEAR_DAYS, kept)]
        assert len(fitting) == 1 and fitting != [i]
        found += fitting
    assert len(set(found)) > 5


def test_every_other_star_may_lend() -> None:
    stars, lenders = sky(1), sky(3, seed=2)
    windows = set()
    for seed in range(40):
        rng = [np.random.default_rng(seed)]
        windows.add(augment(stars, Augmentation(borrow_window=1.0), rng, lenders).kept.tobytes())
    assert len(windows) == 2


def test_without_another_star_nothing_is_borrowed() -> None:
    assert augmented(sky(1), borrow_window=1.0).kept.all()
    assert augmented(sky(1), sky(2).slice(0, 0), borrow_window=1.0).kept.all()


@pytest.mark.parametrize("name", ["drop_camera", "noise", "borrow_window"])
def test_a_probability_is_a_share_of_the_stars(name: str) -> None:
    settings: dict[str, Any] = {name: 0.3}
    done = augmented(sky(400), **settings)
    changed = (shares_kept(done) < 1) | (done.noise_factor > 1)
    assert changed.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 400))


def test_too_poor_a_star_stays_as_it_is() -> None:
    """Forty points of which up to 99 % go: stars keep between `FEWEST_POINTS` and all of them, and those that keep all
    have no new noise either."""
    stars = sky(200, n_points=40)
    done = augmented(stars, drop_epochs=0.99, noise=1.0)
    kept = done.light_curves.n_points
    assert kept.min() >= FEWEST_POINTS
    assert np.any((kept < 40) & (done.noise_factor > 1))
    untouched = done.noise_factor == 1
    assert untouched.sum() > 100
    for i in np.flatnonzero(untouched).tolist():
        np.testing.assert_array_equal(done.light_curves.star(i)["flux"], stars.star(i)["flux"])
        np.testing.assert_array_equal(done.light_curves.star(i)["flux_err"], stars.star(i)["flux_err"])
    assert augmented(sky(5, n_points=29), noise=1.0).noise_factor.tolist() == [1.0] * 5


def test_choices_do_not_change_one_another() -> None:
    every: dict[str, Any] = {"drop_epochs": 0.3, "drop_camera": 0.5, "noise": 0.5, "borrow_window": 0.5}
    stars, lenders = sky(), sky(n_points=4000, seed=2)
    together = augmented(stars, lenders, **every)
    alone = {name: augmented(stars, lenders, **{name: value}) for name, value in every.items()}
    np.testing.assert_array_equal(together.kept, np.all([one.kept for one in alone.values()], axis=0))
    np.testing.assert_array_equal(together.noise_factor, alone["noise"].noise_factor)
    np.testing.assert_array_equal(together.light_curves["flux"], alone["noise"].light_curves["flux"][together.kept])


def test_a_star_does_not_depend_on_those_beside_it() -> None:
    stars = sky()
    settings: dict[str, Any] = {"drop_epochs": 0.3, "drop_camera": 0.5, "noise": 0.5, "borrow_window": 0.5}
    whole = augmented(stars, **settings)
    for i in (0, 17, 39):
        one = augment(stars.star(i), Augmentation(**settings), [np.random.default_rng([7, i])], stars)
        for name in stars.columns:
            np.testing.assert_array_equal(one.light_curves[name], whole.light_curves.star(i)[name])
