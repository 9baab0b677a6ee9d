"""Targets are the same in any company, and look like the stars they are drawn as."""

import numpy as np
import pytest

from varistar.sky.targets import HOTTEST_SPOTTED, MAGNITUDES, TARGET_KINDS, Target, draw_target

SHARES = {"flaring": 0.4, "quiet": 0.25, "planet_host": 0.12, "eclipsing": 0.11, "pulsating": 0.12}


@pytest.fixture(scope="module")
def targets() -> list[Target]:
    return [draw_target(5, index, SHARES) for index in range(1500)]


def test_a_target_depends_on_seed_and_number_alone(targets: list[Target]) -> None:
    again = draw_target(5, 700, SHARES)
    assert repr(again) == repr(targets[700])  # to the last digit, NaN included
    assert draw_target(6, 700, SHARES).star_id != again.star_id


def test_ids_are_opaque_and_unlike(targets: list[Target]) -> None:
    ids = [target.star_id for target in targets]
    assert len(set(ids)) == len(ids) and all(len(name) == 18 and name.isdigit() for name in ids)


def test_kinds_come_in_their_shares(targets: list[Target]) -> None:
    for kind in TARGET_KINDS:
        count = sum(target.kind == kind for target in targets)
        expected = len(targets) * SHARES[kind]
        assert abs(count - expected) < 5 * np.sqrt(expected)
    only = [draw_target(1, index, {**dict.fromkeys(SHARES, 0.0), "eclipsing": 1.0}) for index in range(20)]
    assert {target.kind for target in only} == {"eclipsing"}


def test_magnitudes_stay_in_their_range(targets: list[Target]) -> None:
    tmag = np.array([target.tmag for target in targets])
    assert MAGNITUDES[2] <= tmag.min() and tmag.max() <= MAGNITUDES[3]
    assert np.percentile(tmag, 5) > 8.0 and np.percentile(tmag, 95) < 14.7


def test_truth_is_consistent(targets: list[Target]) -> None:
    for target in targets:
        assert target.luminosity == pytest.approx(target.radius**2 * (target.teff / 5772.0) ** 4)
        flares = target.flare_law.rate > 0
        assert flares == (target.kind == "flaring") or target.kind == "planet_host"
        assert np.isfinite(target.period_days) == (target.kind in ("planet_host", "eclipsing", "pulsating"))
        if target.teff > HOTTEST_SPOTTED or target.subtype in ("giant", "RRAB", "DSCT"):
            assert np.isnan(target.rotation_days)
        else:
            assert 0.2 <= target.rotation_days <= 30.0
    flaring = [target for target in targets if target.kind == "flaring"]
    assert np.mean([target.teff < 3900 for target in flaring]) > 0.5
    assert max(target.teff for target in flaring) < 5900


def test_young_stars_turn_fast(targets: list[Target]) -> None:
    known = [target for target in targets if target.kind in ("flaring", "quiet") and target.teff < 6200]
    known = [target for target in known if np.isfinite(target.rotation_days)]
    young = [target.rotation_days for target in known if target.age_myr < 100]
    old = [target.rotation_days for target in known if target.age_myr > 3000]
    assert np.median(young) < 5.0 < 15.0 < np.median(old)


def test_the_catalog_agrees_with_the_star(targets: list[Target]) -> None:
    """Magnitude, distance, radius and temperature close: 4.74 - 2.5 log L = G + 5 log parallax - 10 + correction."""
    dwarfs = [target for target in targets if target.subtype in ("K", "G", "F") and target.catalog["parallax"] > 1.0]
    assert len(dwarfs) > 200
    offset = []
    for target in dwarfs:
        entry = target.catalog
        absolute = entry["phot_g_mean_mag"] + 5 * np.log10(entry["parallax"] / 100.0)
        offset.append(absolute - (4.74 - 2.5 * np.log10(entry["lum_val"])))
        assert entry["logg"] == pytest.approx(4.438 + np.log10(target.mass / target.radius**2), abs=0.2)
        assert -90 <= entry["dec_deg"] <= 90 and 0 <= entry["ra_deg"] < 360
    assert -0.1 < np.median(offset) < 0.5  # minus the bolometric correction in G, 0 to 0.5 from F to late K
    assert np.std(offset) < 0.25
    sun = [target.catalog for target in targets if abs(target.teff - 5772) < 150]
    assert np.median([entry["phot_g_mean_mag"] - entry["tmag"] for entry in sun]) == pytest.approx(0.43, abs=0.05)
