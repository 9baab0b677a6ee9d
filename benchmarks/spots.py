"""How much faster than butterpy a spotted star is simulated.

    python benchmarks/spots.py [--draws N] [--stars N]

For the same stars of Table 1 of the paper (000), both in this run:

- butterpy, as the published generator calls it: twelve years of active regions, then the flux over a five-year window
  at 30-minute cadence;
- varistar: twelve years of active regions, the flux at 1000 epochs of the window, the median over it and the effective
  period.

Times are CPU times of this process, so other work on the machine matters little. The exit code is 1 when the ratio of
the summed times is below the gate. varistar's mean over more stars is printed too, because the cost of a star grows
with its activity, which a few draws do not sample well.
"""

import argparse
import sys
import time
from collections.abc import Callable

import butterpy
import numpy as np

from machine import describe
from varistar.physics.spot_prior import SpotParameters, SpotPrior, draw_spot_parameters
from varistar.physics.spots import SpotSimulation, simulate_positive, simulate_star

GATE = 1000.0
TARGET_MS = 4.0
N_EPOCHS = 1000
CADENCE_DAYS = 1 / 48
REPEATS = 5
SIMULATION = SpotSimulation()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=6, help="stars that butterpy simulates too (up to a minute each)")
    parser.add_argument("--stars", type=int, default=500, help="stars for the mean time of varistar alone")
    parser.add_argument("--seed", type=int, default=88)
    arguments = parser.parse_args()
    print(describe())
    epochs = np.sort(np.random.default_rng(arguments.seed).uniform(0, SIMULATION.window_days, N_EPOCHS))
    simulate_positive(SpotPrior(), epochs, 0.0, arguments.seed, 0)  # compiles

    ratio = compare(epochs, arguments.draws, arguments.seed)
    mean_ms = mean_time(epochs, arguments.stars, arguments.seed)
    print(f"\nratio of the summed CPU times: {ratio:.0f} (gate: {GATE:.0f})")
    print(f"varistar, mean of {arguments.stars} stars with redraws: {mean_ms:.2f} ms (target: {TARGET_MS:.0f} ms)")
    return 0 if ratio >= GATE else 1


def compare(epochs: np.ndarray, n_draws: int, seed: int) -> float:
    """Print the CPU time of each draw in both codes; return the ratio of the sums."""
    print(f"\n{'draw':>4} {'activity':>8} {'period':>7} {'regions':>8} {'butterpy':>11} {'varistar':>10} {'ratio':>7}")
    theirs, ours = [], []
    for number in range(n_draws):
        parameters = draw_spot_parameters(SpotPrior(), np.random.default_rng([seed, number]))
        star = simulate_star(parameters, epochs, 0.0, np.random.default_rng(number))
        theirs.append(cpu_time(lambda p=parameters, n=number, t=star.window_start: run_butterpy(p, n, t)))
        ours.append(
            min(
                cpu_time(lambda p=parameters, n=number: simulate_star(p, epochs, 0.0, np.random.default_rng(n)))
                for _ in range(REPEATS)
            )
        )
        print(
            f"{number:4d} {parameters.activity:8.2f} {parameters.period:5.1f} d {star.n_regions:8d} "
            f"{theirs[-1]:9.2f} s {1e3 * ours[-1]:7.2f} ms {theirs[-1] / ours[-1]:7.0f}",
            flush=True,
        )
    return sum(theirs) / sum(ours)


def run_butterpy(parameters: SpotParameters, seed: int, window_start: float) -> None:
    np.random.seed(seed)  # noqa: NPY002  (the generator that butterpy uses)
    surface = butterpy.Surface()
    surface.emerge_regions(
        ndays=SIMULATION.duration_days,
        activity_level=parameters.activity,
        butterfly=parameters.butterfly,
        cycle_period=parameters.cycle_period,
        cycle_overlap=parameters.cycle_overlap,
        max_lat=parameters.max_latitude,
        min_lat=parameters.min_latitude,
    )
    surface.evolve_spots(
        time=np.arange(window_start, window_start + SIMULATION.window_days, CADENCE_DAYS),
        inclination=parameters.inclination,
        period=parameters.period,
        shear=parameters.shear,
        tau_evol=parameters.spot_lifetime,
        alpha_med=parameters.alpha_med,
    )


def mean_time(epochs: np.ndarray, n_stars: int, seed: int) -> float:
    """Mean CPU time of a star of Table 1, redraws included [ms]."""
    total = cpu_time(lambda: [simulate_positive(SpotPrior(), epochs, 0.0, seed, i) for i in range(n_stars)])
    return 1e3 * total / n_stars


def cpu_time(run: Callable[[], object]) -> float:
    """CPU time of one call [s]."""
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())
