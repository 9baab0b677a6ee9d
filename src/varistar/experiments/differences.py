"""How much better is one variant than another, on the same stars? Paired, so that what is hard for both cancels.

A wing says what it compares; how the answer is printed stands here.
"""

from collections.abc import Mapping

from .gates import Difference

#: By test or kind of star, then by score.
Differences = Mapping[str, Mapping[str, Difference]]


def difference_lines(found: Differences) -> list[str]:
    """The differences as a printed table."""
    lines = [f"{'test':<22}{'score':<22}{'difference':>11}   95% interval"]
    for test, scores in found.items():
        lines += [
            f"{test:<22}{name:<22}{value.mean:>+11.4f}   {value.low:+.4f} to {value.high:+.4f}"
            for name, value in scores.items()
        ]
    return lines
