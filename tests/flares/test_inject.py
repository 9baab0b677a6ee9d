"""Injected flares are the template, where they may be, as many and as high as asked, and the same in any order."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.flares.draws import AnyPlaced, GridDraw, LawDraw, PaperDraw, PaperFlares, TrainingDraw
from varistar.flares.inject import Injected, flip, inject, searched_days
from varistar.flares.labels import LABELS
from varistar.flares.orbits import Orbit, OrbitSettings, split_orbits
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.settings import validate
from varistar.lightcurves.readers import read
from varistar.physics.flares import Flares, draw_flare_law, flare_flux, flare_shape
from varistar.sky.streams import stream

CADENCE = 2.0 / 1440.0
NOBODY = pl.DataFrame(schema=LABELS)
GRIDS = {
    "amplitudes": GridDraw(per_cell_per_day=0.05, photon_share=0.0),
    "snrs": GridDraw(peak_snrs=(3.0, 10.0, 30.0, 100.0), per_cell_per_day=0.1, photon_share=0.0),
}


def an_orbit(start: float = 1500.0, m: int = 8000, noise: float = 0.002, errors: bool = True, seed: int = 0) -> Orbit:
    """Eleven days of a spotted star, with lone cadences lost and two gaps."""
    rng = np.random.default_rng(seed)
    time = start + CADENCE * np.arange(m)
    flux = 1.0 + 0.01 * np.sin(time) + noise * rng.standard_normal(m)
    flux[rng.integers(0, m, m // 50)] = np.nan
    flux[1000:1040] = np.nan
    flux[m - 2000 : m - 1700] = np.nan
    err = np.where(np.isfinite(flux) & errors, noise * (1.0 + 0.3 * np.cos(time)), np.nan)
    return Orbit(time, flux, err, np.arange(m), CADENCE)


def two_orbits() -> list[Orbit]:
    return [an_orbit(), an_orbit(1513.0, 6000, seed=1)]


def label(star_id: str, tpeak: float, tstart: float | None = None, tstop: float | None = None) -> pl.DataFrame:
    return pl.DataFrame([{"star_id": star_id, "tpeak": tpeak, "tstart": tstart, "tstop": tstop}], schema=LABELS)


def flares_of(labels: pl.DataFrame) -> Flares:
    columns = (labels[name].to_numpy() for name in ("tpeak", "amplitude", "fwhm_minutes"))
    tpeak, amplitude, minutes = columns
    return Flares(tpeak, amplitude, minutes / 1440.0, np.arange(len(labels)))


def peak_cadences(orbits: list[Orbit], labels: pl.DataFrame) -> list[np.ndarray]:
    """The cadence of each peak, orbit by orbit."""
    t = labels["tpeak"].to_numpy()
    return [
        np.rint((t[(t > o.time[0] - CADENCE) & (t < o.time[-1] + CADENCE)] - o.time[0]) / CADENCE).astype(int)
        for o in orbits
    ]


@pytest.mark.parametrize("settings", GRIDS.values(), ids=GRIDS)
def test_what_is_added_is_the_template_averaged_over_exposures(settings: GridDraw) -> None:
    orbits = two_orbits()
    before = [orbit.flux.copy() for orbit in orbits]
    injected = inject("star", orbits, NOBODY, settings)
    assert injected.labels.schema == pl.Schema(LABELS) and len(injected.labels) > 20
    assert injected.labels["tpeak"].is_sorted()
    flares = flares_of(injected.labels)
    for orbit, after, flux in zip(orbits, injected.orbits, before, strict=True):
        own = flares.take((flares.tpeak > orbit.time[0] - CADENCE) & (flares.tpeak < orbit.time[-1] + CADENCE))
        np.testing.assert_array_equal(orbit.flux, flux)  # what was given stays as it was
        np.testing.assert_allclose(after.flux - orbit.flux, own_light(own, orbit), atol=1e-14)
        np.testing.assert_array_equal(after.flux_err, orbit.flux_err)
    np.testing.assert_allclose(injected.labels["equivalent_duration_s"].to_numpy(), flares.equivalent_duration)


def own_light(flares: Flares, orbit: Orbit) -> np.ndarray:
    """The template at 200 times in each exposure; NaN where the orbit is."""
    offsets = CADENCE * ((np.arange(200) + 0.5) / 200 - 0.5)
    fine = (orbit.time[:, None] + offsets).ravel()
    light = np.zeros(len(fine))
    for tpeak, amplitude, fwhm in zip(flares.tpeak, flares.amplitude, flares.fwhm, strict=True):
        near = np.abs(fine - tpeak) < 40.0 * fwhm
        light[near] += amplitude * flare_shape((fine[near] - tpeak) / fwhm)
    averaged = light.reshape(-1, 200).mean(axis=1)
    exact = np.where(orbit.good, flare_flux(flares, orbit.time, CADENCE), np.nan)
    # the oracle is good to its steps, and to what it leaves out: the tail at 40 widths
    np.testing.assert_allclose(exact[orbit.good], averaged[orbit.good], atol=2e-4 * flares.amplitude.sum())
    return exact


def test_signal_to_noise_is_that_of_the_highest_exposure() -> None:
    orbits = two_orbits()
    for labels in (inject("star", orbits, NOBODY, settings).labels for settings in GRIDS.values()):
        for row in labels.iter_rows(named=True):
            orbit = orbits[int(row["tpeak"] > 1512.0)]
            flare = Flares(*(np.array([x]) for x in (row["tpeak"], row["amplitude"], row["fwhm_minutes"] / 1440.0, 0)))
            snr = flare_flux(flare, orbit.time, CADENCE) / orbit.flux_err
            assert row["peak_snr"] == pytest.approx(np.nanmax(snr), rel=1e-9)
            above = orbit.time[snr > 1.0]
            ends = (above[0], above[-1]) if len(above) else (orbit.time[np.nanargmax(snr)],) * 2
            assert (row["tstart"], row["tstop"]) == pytest.approx(ends, abs=1e-9)


@pytest.mark.parametrize("name", GRIDS)
def test_cells_are_equally_full_and_flares_lie_in_theirs(name: str) -> None:
    settings = GRIDS[name].model_copy(update={"apart": 1, "apart_widths": 0.0})  # all find room
    orbits = two_orbits()
    labels = inject("star", orbits, NOBODY, settings).labels
    rows = settings.peak_snrs or settings.amplitudes
    heights = labels["peak_snr" if settings.peak_snrs else "amplitude"].to_numpy()
    count, _, _ = np.histogram2d(heights, labels["fwhm_minutes"].to_numpy(), [rows, settings.fwhm_minutes])
    assert count.sum() == len(labels)
    assert count.max() - count.min() <= 1
    assert abs(len(labels) - settings.per_cell_per_day * count.size * searched_days(orbits)) < 1.0


def test_flares_keep_apart_from_each_other_from_known_ones_and_from_gaps() -> None:
    orbits = two_orbits()
    known = pl.concat(
        [label("star", 1503.0), label("star", 1505.0, 1504.9, 1505.3), label("another", 1507.0), label("star", 1511.05)]
    )
    settings = GridDraw(per_cell_per_day=1.0, apart=60, from_gaps=30, gap=5)  # more than find room
    seen_of_another, crowded = [], 0
    for star in range(4):
        moved = known.with_columns(pl.col("star_id").replace("star", f"star {star}"))
        labels = inject(f"star {star}", orbits, moved, settings).labels
        crowded += len(labels)
        width = labels["fwhm_minutes"].to_numpy() / 2.0
        for k, (orbit, peaks) in enumerate(zip(orbits, peak_cadences(orbits, labels), strict=True)):
            assert orbit.good[peaks].all()
            own = width[: len(peaks)] if k == 0 else width[-len(peaks) :]
            assert np.all(np.diff(peaks) >= np.maximum(60, np.ceil(5.0 * own[:-1])))
            m = len(orbit)
            for begin, end in ((-1, -1), (1000, 1039), (m - 2000, m - 1701), (m, m)):
                assert not np.any((peaks >= begin - 30) & (peaks <= end + 30))
        t = labels["tpeak"].to_numpy()
        room = 59.5 * CADENCE  # a peak lies up to half a cadence from the middle of its own
        for start, stop in ((1503.0, 1503.0), (1504.9, 1505.3), (1511.05, 1511.05)):
            assert not np.any((t > start - room) & (t < stop + room))
        seen_of_another.append(np.abs(t - 1507.0).min())
    assert min(seen_of_another) < room
    assert crowded > 4 * 60


def test_edges_are_allowed_when_no_margin_is_asked() -> None:
    orbit = an_orbit()
    away = []
    for star in range(30):
        labels = inject(str(star), [orbit], NOBODY, TrainingDraw(per_day=4.0)).labels
        peaks = peak_cadences([orbit], labels)[0]
        assert orbit.good[peaks].all()
        away.append(np.min(np.abs(peaks[:, None] - np.array([0, 999, 1040, len(orbit) - 1]))))
    assert min(away) <= 3


def test_training_flares_have_the_law_that_was_asked() -> None:
    settings = TrainingDraw(per_day=5.0, peak_snr=(4.0, 400.0), fwhm_minutes=6.0, scatter=0.3, apart=1, apart_widths=0)
    labels = pl.concat([inject(str(k), [an_orbit()], NOBODY, settings).labels for k in range(20)])
    n = len(labels)
    assert n == pytest.approx(20 * 5.0 * searched_days([an_orbit()]), abs=20)
    part = np.log(labels["peak_snr"].to_numpy() / 4.0) / np.log(100.0)
    assert part.min() >= 0.0 and part.max() <= 1.0
    assert part.mean() == pytest.approx(0.5, abs=5.0 / np.sqrt(12 * n))
    dex = np.log10(labels["fwhm_minutes"].to_numpy() / 6.0)
    assert dex.mean() == pytest.approx(0.0, abs=5.0 * 0.3 / np.sqrt(n))
    assert dex.std() == pytest.approx(0.3, rel=5.0 / np.sqrt(2 * n))


def same(one: Injected, other: Injected) -> bool:
    fluxes = zip(one.orbits, other.orbits, strict=True)
    return one.labels.equals(other.labels) and all(np.array_equal(a.flux, b.flux, equal_nan=True) for a, b in fluxes)


@pytest.mark.parametrize("settings", [GRIDS["snrs"], PaperDraw(), TrainingDraw(), LawDraw()], ids=lambda s: s.kind)
def test_a_star_is_the_same_in_any_order_and_another_is_another(settings: AnyPlaced | LawDraw) -> None:
    orbits = two_orbits()
    first = {star: inject(star, orbits, NOBODY, settings) for star in ("a", "b", "c")}
    for star in ("c", "a", "b"):
        assert same(inject(star, orbits, NOBODY, settings), first[star])
    assert not same(first["a"], first["b"])
    assert not same(first["a"], inject("a", orbits, NOBODY, settings.model_copy(update={"seed": 89})))


def test_flares_bring_their_photon_noise() -> None:
    """The variance that flares as bright as ten stars add is that of their photons."""
    ratios = []
    for star in range(40):
        orbit = an_orbit()
        grid = {"amplitudes": (1.0, 10.0), "fwhm_minutes": (30.0, 90.0), "per_cell_per_day": 0.1, "seed": star}
        noisy, quiet = (inject("s", [orbit], NOBODY, GridDraw(**grid, photon_share=share)) for share in (0.5, 0.0))
        assert noisy.labels.equals(quiet.labels)
        added = quiet.orbits[0].flux - orbit.flux
        more = np.sqrt(0.5 * orbit.flux_err**2 * np.maximum(added, 0.0))
        bright = orbit.good & (added > 0.05)
        ratios.append((noisy.orbits[0].flux - quiet.orbits[0].flux)[bright] / more[bright])
        np.testing.assert_allclose(noisy.orbits[0].flux_err, np.hypot(orbit.flux_err, more))
    z = np.concatenate(ratios)
    assert len(z) > 1000
    assert z.mean() == pytest.approx(0.0, abs=4.0 / np.sqrt(len(z)))
    assert z.var() == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / len(z)))


def test_without_errors_the_noise_is_the_scatter_of_steps_and_photons_are_not_added() -> None:
    orbit = an_orbit(errors=False)
    labels, after = inject("s", [orbit], NOBODY, GRIDS["snrs"]).labels, inject("s", [orbit], NOBODY, GridDraw())
    flares = flares_of(labels)
    for k, snr in enumerate(labels["peak_snr"]):
        height = flare_flux(flares.take(slice(k, k + 1)), orbit.time, CADENCE)[orbit.good].max()
        assert snr == pytest.approx(height / 0.002, rel=0.5)  # 200 steps know a scatter to some 10 %
    assert np.isnan(after.orbits[0].flux_err).all()
    np.testing.assert_allclose(
        after.orbits[0].flux, orbit.flux + flare_flux(flares_of(after.labels), orbit.time, CADENCE), atol=1e-14
    )


def test_a_ratio_to_no_noise_is_refused() -> None:
    orbit = an_orbit(noise=0.0, errors=False)
    flat = Orbit(orbit.time, np.where(orbit.good, 1.0, np.nan), orbit.flux_err, orbit.point, CADENCE)
    with pytest.raises(DataError, match=r"star 17: .* need errors"):
        inject("17", [flat], NOBODY, TrainingDraw())
    labels = inject("17", [flat], NOBODY, GridDraw()).labels
    assert len(labels) and labels["peak_snr"].is_null().all()


def test_the_papers_injection() -> None:
    """Ten flares that are its code's formula in the middles of the exposures, at full height in that of the peak."""
    orbits, settings = two_orbits(), PaperDraw(photon_share=0.0)
    parts = [inject(str(star), orbits, NOBODY, settings) for star in range(60)]
    labels = pl.concat([part.labels for part in parts])
    assert {len(part.labels) for part in parts} == {10}
    drawn = np.random.default_rng(5).normal(0.04, 0.03, 200_000)
    kept = drawn[drawn > 0.0]
    amplitude = labels["amplitude"].to_numpy()
    assert amplitude.min() > 0.0
    assert amplitude.mean() == pytest.approx(kept.mean(), abs=4.0 * kept.std() / np.sqrt(600))
    for part in parts[:5]:
        peaks = part.labels["tpeak"].to_numpy()
        for orbit, after in zip(orbits, part.orbits, strict=True):
            added = after.flux - orbit.flux
            at = np.flatnonzero(np.isin(orbit.time, peaks))
            own = part.labels.filter(pl.col("tpeak").is_in(orbit.time[at].tolist()))
            assert np.all(added[at] >= own["amplitude"].to_numpy() - 1e-12)
            far = np.min(np.abs(orbit.time[:, None] - np.append(orbit.time[at], 0.0)), axis=1) > 40.0 * 4e-3
            assert np.nanmax(added[far], initial=0.0) < 1e-12
    width = labels["fwhm_minutes"].to_numpy() / 1440.0
    assert width.min() > np.log(2.0) * 3e-4 + 1.1774 * 5e-5
    assert width.max() < np.log(2.0) * 4e-3 + 1.1775 * 2e-4


def test_width_and_equivalent_duration_of_the_papers_flare() -> None:
    flare = PaperFlares(np.array([0.0]), np.array([0.3]), np.array([1.5e-4]), np.array([2e-3]))
    t = np.linspace(-0.002, 0.08, 2_000_001)
    shape = np.where(t <= 0, np.exp(-(t**2) / (2 * 1.5e-4**2)), np.exp(-t / 2e-3))
    assert flare.equivalent_duration[0] == pytest.approx(0.3 * 86400.0 * np.trapezoid(shape, t), rel=1e-6)
    above = t[shape >= 0.5]
    assert flare.fwhm[0] == pytest.approx(above[-1] - above[0], abs=1e-7)


def test_a_dwarfs_flares_come_at_its_rate_and_some_in_gaps() -> None:
    settings = LawDraw(rate_times=3.0, teff=(3300.0, 3300.1), age_myr=(50.0, 50.1), equivalent_duration_s=(2.0, 1e4))
    orbit, n, expected = an_orbit(), 0, 0.0
    nulls = 0
    for star in range(30):
        injected = inject(str(star), [orbit], NOBODY, settings)
        n += len(injected.labels)
        nulls += injected.labels["peak_snr"].null_count()
        rng = stream(88, "injected flares", str(star))
        rng.uniform(size=2)
        law = draw_flare_law(rng, 3300.0, 50.0, (2.0, 1e4))
        expected += 3.0 * law.per_day() * (orbit.time[-1] - orbit.time[0] + 0.2)
    assert expected < n < 2.0 * expected  # outbursts of one flare, and up to half of them of more
    lost = 1.0 - orbit.good.mean()
    assert nulls == pytest.approx(n * lost, abs=5.0 * np.sqrt(n * lost) + 0.03 * n)


def test_upside_down() -> None:
    orbits = two_orbits()
    bright = inject("s", orbits, NOBODY, GridDraw(amplitudes=(0.5, 1.0)))
    for orbit, turned in zip(bright.orbits, flip(bright.orbits), strict=True):
        np.testing.assert_array_equal(turned.good, orbit.good)
        assert np.nanmedian(turned.flux) == pytest.approx(np.nanmedian(orbit.flux))
        assert np.nanmax(turned.flux) < 1.05 and np.nanmin(turned.flux) < 0.8
        np.testing.assert_array_equal(turned.flux_err, orbit.flux_err)
    for orbit, back in zip(orbits, flip(flip(orbits)), strict=True):
        np.testing.assert_allclose(back.flux, orbit.flux, rtol=1e-14)


def test_no_orbits_and_no_room_are_no_flares() -> None:
    assert inject("s", [], NOBODY, TrainingDraw()).labels.schema == pl.Schema(LABELS)
    assert inject("s", [], NOBODY, LawDraw()).orbits == []
    assert inject("s", [an_orbit()], NOBODY, GridDraw(from_gaps=10_000)).labels.is_empty()


@pytest.mark.parametrize("edges", [(0.1,), (0.2, 0.1), (0.0, 0.1), (0.1, float("inf"))])
def test_edges_that_are_none_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="amplitudes"):
        validate(GridDraw, {"amplitudes": list(edges)}, "params.yaml: injection")


def test_real_light_curves_take_flares(real_data: Path) -> None:
    path = real_data / "tess" / "tess2019198215352-s0014-0000000159449703-0150-s_lc.fits"
    star = read(path)
    columns = (star[name] for name in ("time", "flux", "flux_err", "quality"))
    orbits = split_orbits(*columns, OrbitSettings())
    injected = inject(star.star_id[0], orbits, NOBODY, GridDraw(peak_snrs=(5.0, 50.0), per_cell_per_day=0.3))
    assert len(injected.labels) > 20
    flares = flares_of(injected.labels)
    for orbit, after in zip(orbits, injected.orbits, strict=True):
        pull = (after.flux - orbit.flux - flare_flux(flares, orbit.time, orbit.cadence)) / orbit.flux_err
        assert np.nanmax(np.abs(pull)) < 3.0  # the photons of a flare of 50 sigma are few beside the star's
        np.testing.assert_array_equal(after.good, orbit.good)
