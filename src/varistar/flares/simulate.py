"""Simulate the sectors whose flares the networks learn: stars of their own, none of them in the embedded survey."""

from varistar.foundation.errors import one_sentence
from varistar.foundation.params import find_root, read_section
from varistar.sky.snapshot import write_space
from varistar.sky.spacecraft import SectorSettings


def main() -> None:
    """The stage."""
    root = find_root()
    settings = read_section(root, "flares.sectors", SectorSettings)
    write_space(settings, root / "build/flares/sectors")
    print(f"{settings.n_stars} stars simulated")


if __name__ == "__main__":
    with one_sentence():
        main()
