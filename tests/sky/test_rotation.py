"""Rotation by colour, age and kind, with the gap, and amplitudes as real stars have them."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from varistar.sky.diagram import Place, dwarf, red_colour
from varistar.sky.rotation import (
    LOWER_EDGE,
    UPPER_EDGE,
    _period_at_age,
    dwarf_period,
    evolved_period,
    gap_edge,
    hot_period,
    in_gap,
    period_of_speed,
    spot_range,
)


def test_gap_edges_are_the_papers() -> None:
    """papers/000, eq. 12 by hand at G - RP = 0.8: A (x - x0) + B (x - x0)^0.5."""
    assert gap_edge(0.8, UPPER_EDGE) == pytest.approx(68.2277 * 0.8653 - 43.7301 * 0.93021, abs=1e-3)
    assert gap_edge(0.8, LOWER_EDGE) == pytest.approx(34.0405 * 0.449 - 2.6183 * 0.67007, abs=1e-3)
    assert in_gap(0.8, 16.0) and not in_gap(0.8, 12.0) and not in_gap(0.8, 20.0)
    assert not in_gap(0.3, 5.0) and not in_gap(1.3, 35.0)


def test_few_dwarfs_lie_in_the_gap() -> None:
    rng = np.random.default_rng(1)
    colour = 1.55
    low, high = (gap_edge(red_colour(colour), edge) for edge in (LOWER_EDGE, UPPER_EDGE))
    period = np.array([dwarf_period(rng, colour) for _ in range(8000)])
    width = np.log(high / low)
    inside, below, above = (
        np.sum((period > a) & (period < b)) / np.log(b / a)
        for a, b in ((low, high), (low * np.exp(-width), low), (high, high * np.exp(width)))
    )
    assert 0 < inside < 0.35 * min(below, above)


def test_slow_sequence_passes_through_the_praesepe_and_brakes_with_the_root_of_age() -> None:
    rng = np.random.default_rng(2)
    at_praesepe, later = (np.median([_period_at_age(rng, 1.2, age) for _ in range(400)]) for age in (0.67, 4 * 0.67))
    assert at_praesepe == pytest.approx(11.0, rel=0.04)
    assert later == pytest.approx(2 * at_praesepe, rel=0.04)


def test_the_reddest_dwarfs_turn_fastest() -> None:
    rng = np.random.default_rng(3)
    solar, red = ([dwarf_period(rng, colour) for _ in range(500)] for colour in (0.9, 3.2))
    assert np.mean(np.array(red) < 5) > np.mean(np.array(solar) < 5) + 0.2


def test_hot_and_evolved_stars_stay_whole() -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        hot, evolved = dwarf(rng, rng.uniform(0.15, 0.59)), Place(rng.uniform(-2.5, 3.5), 1.4, 1.2, 0.0, True)
        for place, period in ((hot, hot_period(rng, hot)), (evolved, evolved_period(rng, evolved))):
            # P = 2 pi sqrt(R^3 / G M): 0.116 d for the Sun
            assert period > 0.116 * np.sqrt(place.radius**3 / place.mass)
    assert period_of_speed(Place(4.67, 0.82, 1.0, 0.0, False), 2.0) == pytest.approx(25.3, rel=0.05)


@pytest.mark.realdata
def test_amplitudes_are_those_of_keplers_stars(real_data: Path) -> None:
    """McQuillan et al. (2014): median and scatter of the range in bins of period and temperature."""
    with gzip.open(real_data / "catalogs" / "McQuillan_2014_rotators.tsv.gz", "rt") as file:
        lines = [line.rstrip("\n").split(";") for line in file if line.strip() and not line.startswith("#")]
    names, rows = lines[0], lines[3:]
    teff, period, real = (
        np.array([float(row[names.index(name)]) for row in rows]) for name in ("Teff", "Prot", "Rper")
    )
    rng = np.random.default_rng(5)
    for low, high, cold, warm in (
        (2, 5, 4000, 5000),
        (5, 10, 4000, 5000),
        (10, 20, 4000, 5000),
        (20, 30, 4000, 5000),
        (10, 20, 5300, 5600),
        (20, 30, 5600, 5900),
        (5, 15, 5900, 6200),
    ):
        kept = (period >= low) & (period < high) & (teff >= cold) & (teff < warm)
        ours = [1e6 * spot_range(rng, "dwarf", p, t) for p, t in zip(period[kept], teff[kept], strict=True)]
        assert np.median(ours) == pytest.approx(np.median(real[kept]), rel=0.3)
        spread, theirs = (np.log(np.percentile(x, 84) / np.percentile(x, 16)) for x in (ours, real[kept]))
        assert spread == pytest.approx(theirs, rel=0.5)


def test_warm_dwarfs_vary_less_and_active_giants_more() -> None:
    rng = np.random.default_rng(6)
    warm, cool, active = (
        np.median([spot_range(rng, subtype, 8.0, teff) for _ in range(400)])
        for subtype, teff in (("dwarf", 6500.0), ("dwarf", 4500.0), ("subgiant", 4700.0))
    )
    assert warm < 0.3 * cool < 0.3 * active
