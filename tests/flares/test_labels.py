"""Every list is read as it was published, and one flare is one label where that is asked for."""

import gzip
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varistar.flares.labels import (
    LABELS,
    find_peaks,
    join_close,
    read_fbeye,
    read_gj1243,
    read_guenther,
    read_ikuta,
    read_ilin_2021,
    read_ilin_aumic,
    read_ilin_planets,
    read_simulated,
)
from varistar.flares.orbits import Orbit, OrbitSettings, split_orbits
from varistar.foundation.errors import DataError
from varistar.lightcurves.readers import read
from varistar.sky.spacecraft import FLARES

Reader = Callable[[Path], pl.DataFrame]

GUENTHER = (
    "TIC,Outbst,Flare,tpeak,e_tpeak,E_tpeak,Amp,e_Amp,E_Amp,FWHMdt,Ebol\n"
    "77,1,1,2458357.25,0.001,0.001,0.02,0.002,0.002,0.0125,\n"
    "77,1,2,2458357.5,0.001,0.001,0.125,0.002,0.002,0.025,1.1E+33\n"
    "9,1,1,2458360.125,0.001,0.001,0.5,0.002,0.002,0.001,\n"
)
FBEYE = (
    "fstartpos,fstoppos,tstart,tstop,tpeak,trise,tdecay,lpeak,ed,cplx_flg\n"
    "129.0,144.0,1598.25,1598.5,1598.375,0.1,0.1,0.004,2.5,1.0\n"
)
AUMIC = (
    "Sec.,$t_s$ [BTJD],$t_f$ [BTJD],orb. phase,$ED$ [s],$\\sigma_{ED}$ [s],$a$\n"
    "27,2058.25,2058.5,0.001,3.5,0.04,0.007\n"
)
PLANETS = (
    "TIC,ID,mission,quarter_or_sector,tstart,tstop,rel_amplitude,ED,ED_err\n"
    "1,GJ 1,TESS,9,,,,,\n"
    "1,GJ 1,TESS,10,1585.25,1585.5,0.0625,6.5,0.5\n"
    "5,Kepler-5,Kepler,3,300.25,300.5,0.5,60.5,0.5\n"
    "5(c),Kepler-5(c),Kepler,3,300.25,300.5,0.5,60.5,0.5\n"
    "5(c),Kepler-5(c),Kepler,3,301.25,301.5,0.25,6.5,0.5\n"
)
COOL = (
    '"istart","tstart","tstop","ed_rec","ampl_rec","ID","real"\n'
    '256,1517.25,1517.5,66.5,0.5,12,"1"\n'
    '300,1518.25,1518.5,67.5,0.6,12,"0"\n'
    '400,1519.25,1519.5,68.5,0.7,12,"merge"\n'
    ",,,,,13,\n"
)
IKUTA = "tpeak,amp,ed_s,fall\n1326.5,0.0625,2.5,0.005\n"
GJ1243 = (
    "# the header\n# t_start\n"
    "152.0 174.0 539.25 539.75 539.5 0.25 0.25 0.0625 1.5 0.5 1.0 2.0 7.0 8.0 1.0\n"
    "275.0 310.0 540.25 540.75 540.5 0.25 0.25 0.125 nan nan nan 1.0 8.0 8.0 2.0\n"
)
#: Each list, its reader, and a number of its last flare.
READERS: dict[str, tuple[str, Reader, str]] = {
    "guenther": (GUENTHER, read_guenther, "2458360.125"),
    "fbeye": (FBEYE, lambda path: read_fbeye(path, "TIC 388857263"), "1598.375"),
    "aumic": (AUMIC, read_ilin_aumic, "3.5"),
    "planets": (PLANETS, read_ilin_planets, "301.5"),
    "cool": (COOL, read_ilin_2021, "1519.5"),
    "ikuta": (IKUTA, lambda path: read_ikuta(path, "TIC 7"), "0.0625"),
    "gj1243": (GJ1243, read_gj1243, "540.75"),
}


def known(labels: pl.DataFrame) -> list[dict[str, object]]:
    """What the rows say, without what is null."""
    return [{name: value for name, value in row.items() if value is not None} for row in labels.iter_rows(named=True)]


def make(rows: list[dict[str, object]]) -> pl.DataFrame:
    """LABELS of these rows."""
    return pl.DataFrame([{**dict.fromkeys(LABELS), "source": "made up", **row} for row in rows], LABELS)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def to_file(text: str) -> Path:
        path = tmp_path / "list.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def test_guenther_counts_from_btjd_zero_and_in_minutes(write: Callable[[str], Path]) -> None:
    labels = read_guenther(write(GUENTHER))
    assert labels["star_id"].to_list() == ["TIC 77", "TIC 77", "TIC 9"]
    assert labels["tpeak"].to_list() == [1357.25, 1357.5, 1360.125]
    assert labels["amplitude"].to_list() == [0.02, 0.125, 0.5]
    assert labels["fwhm_minutes"].to_list() == [18.0, 36.0, 1.44]
    assert labels["source"].unique().to_list() == ["guenther2020"]
    for unknown in ("tstart", "tstop", "equivalent_duration_s", "peak_snr"):
        assert labels[unknown].null_count() == 3


def test_fbeye(write: Callable[[str], Path]) -> None:
    assert known(read_fbeye(write(FBEYE), "TIC 388857263")) == [
        {
            "star_id": "TIC 388857263",
            "tpeak": 1598.375,
            "tstart": 1598.25,
            "tstop": 1598.5,
            "amplitude": 0.004,
            "equivalent_duration_s": 2.5,
            "source": "fbeye",
        }
    ]


def test_ilin_of_au_mic_has_bounds_and_no_peaks(write: Callable[[str], Path]) -> None:
    assert known(read_ilin_aumic(write(AUMIC))) == [
        {
            "star_id": "TIC 441420236",
            "tstart": 2058.25,
            "tstop": 2058.5,
            "amplitude": 0.007,
            "equivalent_duration_s": 3.5,
            "source": "ilin2022",
        }
    ]


def test_ilin_of_planet_hosts_gives_a_missions_flares_once(write: Callable[[str], Path]) -> None:
    path = write(PLANETS)
    tess, kepler = read_ilin_planets(path), read_ilin_planets(path, "Kepler")
    assert tess.select("star_id", "tstart", "tstop", "amplitude").rows() == [("TIC 1", 1585.25, 1585.5, 0.0625)]
    assert kepler.select("star_id", "tstart", "equivalent_duration_s").rows() == [
        ("TIC 5", 300.25, 60.5),
        ("TIC 5", 301.25, 6.5),
    ]
    assert read_ilin_planets(path, "K2").height == 0


def test_ilin_2021_keeps_what_was_found_real(write: Callable[[str], Path]) -> None:
    path = write(COOL)
    assert read_ilin_2021(path).select("star_id", "tstart", "amplitude").rows() == [("TIC 12", 1517.25, 0.5)]
    assert read_ilin_2021(path, ("1", "merge"))["tstart"].to_list() == [1517.25, 1519.25]


def test_ikuta(write: Callable[[str], Path]) -> None:
    assert known(read_ikuta(write(IKUTA), "TIC 7")) == [
        {
            "star_id": "TIC 7",
            "tpeak": 1326.5,
            "amplitude": 0.0625,
            "equivalent_duration_s": 2.5,
            "source": "ikuta2023",
        }
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_gj1243_plain_and_gzipped(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("list.tbl.gz" if packed else "list.tbl")
    path.write_bytes(gzip.compress(GJ1243.encode()) if packed else GJ1243.encode())
    names = ("star_id", "tpeak", "tstart", "tstop", "amplitude", "equivalent_duration_s")
    assert read_gj1243(path).select(names).rows() == [
        ("KIC 9726699", 539.5, 539.25, 539.75, 0.0625, 1.5),
        ("KIC 9726699", 540.5, 540.25, 540.75, 0.125, None),
    ]


def test_another_table_of_numbers_is_not_gj1243s(write: Callable[[str], Path]) -> None:
    lines = [line if line.startswith("#") else line.rsplit(" ", 1)[0] for line in GJ1243.splitlines()]
    with pytest.raises(DataError, match=r"list\.csv: has 14 columns, where a table of 15 columns was expected"):
        read_gj1243(write("\n".join(lines)))


def test_simulated_flares_and_outbursts(tmp_path: Path) -> None:
    rows = [
        ("a", 0, 10.0, 0.01, 2.0, 1.0, 1e30, 3.0, True),
        ("b", 0, 11.0, 0.04, 2.0, 1.0, 1e30, None, False),
        ("a", 1, 12.0, 0.02, 3.0, 2.0, 1e30, 5.0, True),
        ("a", 0, 12.5, 0.03, 4.0, 4.0, 1e30, None, False),
    ]
    pl.DataFrame(rows, FLARES, orient="row").write_parquet(tmp_path / "flares.parquet")
    names = ("star_id", "tpeak", "amplitude", "fwhm_minutes", "equivalent_duration_s", "peak_snr")
    every = read_simulated(tmp_path / "flares.parquet")
    assert every.select(names).rows() == [(row[0], *row[2:6], row[7]) for row in rows]
    joined = read_simulated(tmp_path / "flares.parquet", outbursts=True)
    assert joined.select(names).rows() == [
        ("a", 12.0, 0.02, 3.0, 2.0, 5.0),
        ("a", 12.5, 0.03, 4.0, 5.0, 3.0),
        ("b", 11.0, 0.04, 2.0, 1.0, None),
    ]
    assert dict(every.schema) == dict(joined.schema) == LABELS


@pytest.mark.parametrize("name", READERS)
def test_every_reader_gives_the_same_columns(name: str, write: Callable[[str], Path]) -> None:
    text, reader, _ = READERS[name]
    labels = reader(write(text))
    assert dict(labels.schema) == LABELS
    assert labels.height > 0
    numbers = labels.select(pl.col(pl.Float64).is_nan().sum())
    assert sum(numbers.row(0)) == 0, "what is unknown is null"


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", ["missing", "empty", "folder", "binary", "another list", "cut off", "a word"])
def test_bad_files_are_answered_in_a_sentence(name: str, damage: str, tmp_path: Path) -> None:
    text, reader, number = READERS[name]
    path = tmp_path / "list.csv"
    if damage == "folder":
        path.mkdir()
    elif damage == "binary":
        path.write_bytes(bytes(range(256)))
    elif damage != "missing":
        broken = {
            "empty": "",
            "another list": "a,b\n1,2\n",
            "cut off": text[: text.rindex(number) + len(number)],
            "a word": text.replace(number, "abc"),
        }
        path.write_text(broken[damage], encoding="utf-8")
    with pytest.raises(DataError) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GUENTHER.replace("2458357.5", ""), r"line 3, column 'tpeak': expected a time"),
        (GUENTHER.replace("2458357.5", "1357.5"), r"line 3, column 'tpeak': expected a full Julian date, got 1357.5"),
        (GUENTHER.replace("Amp", "amp"), r"lacks the column 'Amp'"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(text: str, sentence: str, write: Callable[[str], Path]) -> None:
    with pytest.raises(DataError, match=sentence):
        read_guenther(write(text))


def test_a_light_curve_is_no_list_of_flares(tmp_path: Path) -> None:
    (tmp_path / "lc.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 2850)
    with pytest.raises(DataError, match=r"lc\.fits: a FITS file, where a table of flares was expected"):
        read_guenther(tmp_path / "lc.fits")


#: Times on a grid that float64 holds exactly: 2^-7 d, which are 11.25 minutes.
GRID = 2.0**-7


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(1, 5)), min_size=1, max_size=30),
    st.integers(1, 4),
    st.randoms(),
)
def test_joined_labels_are_chains(flares: list[tuple[str, int, int]], reach: int, random: Random) -> None:
    """Against chains that are followed flare by flare; peaks exactly `minutes` apart stay apart."""
    rows = [
        {"star_id": star, "tpeak": 100.0 + GRID * step, "amplitude": float(size), "equivalent_duration_s": float(size)}
        for star, step, size in flares
    ]
    expected = []
    for star in "ab":
        chain: list[tuple[int, int]] = []
        for step, size in sorted((step, size) for name, step, size in flares if name == star):
            if chain and step - chain[-1][0] >= reach:
                expected.append((star, chain))
                chain = []
            chain.append((step, size))
        if chain:
            expected.append((star, chain))
    random.shuffle(rows)
    joined = join_close(make(rows), minutes=1440.0 * GRID * reach)
    assert joined.height == len(expected)
    sizes = sorted((star, max(size for _, size in chain), sum(size for _, size in chain)) for star, chain in expected)
    assert sorted(joined.select("star_id", "amplitude", "equivalent_duration_s").rows()) == sizes
    for row in joined.iter_rows(named=True):
        step = (row["tpeak"] - 100.0) / GRID
        assert any(
            (step, row["amplitude"]) in chain and row["amplitude"] == max(size for _, size in chain)
            for star, chain in expected
            if star == row["star_id"]
        )


def test_a_joined_label_spans_its_parts_and_knows_only_what_all_know() -> None:
    parts = [
        {"star_id": "a", "tpeak": 1.0, "tstart": 0.999, "tstop": 1.010, "amplitude": 0.1, "fwhm_minutes": 3.0},
        {"star_id": "a", "tpeak": 1.001, "tstart": 1.0005, "tstop": 1.002, "amplitude": 0.3, "fwhm_minutes": 2.0},
        {"star_id": "a", "tpeak": 1.002, "fwhm_minutes": 9.0, "peak_snr": 4.0},
    ]
    durations: tuple[dict[str, object], ...] = ({"equivalent_duration_s": 5.0}, {"equivalent_duration_s": 7.0}, {})
    joined = join_close(make([{**part, **duration} for part, duration in zip(parts, durations, strict=True)]))
    assert known(joined) == [
        {
            "star_id": "a",
            "tpeak": 1.001,
            "tstart": 0.999,
            "tstop": 1.010,
            "amplitude": 0.3,
            "fwhm_minutes": 2.0,
            "peak_snr": 4.0,
            "source": "made up",
        }
    ]


def test_flares_without_peaks_are_joined_by_their_beginnings() -> None:
    rows = [{"star_id": "a", "tstart": start, "tstop": start + GRID} for start in (5.0, 5.25, 5.25 + GRID / 2)]
    joined = join_close(make(rows))
    assert joined.select("tpeak", "tstart", "tstop").rows() == [
        (None, 5.0, 5.0 + GRID),
        (None, 5.25, 5.25 + 1.5 * GRID),
    ]


def test_no_labels_join_to_none() -> None:
    assert join_close(make([])).equals(make([]))


def orbit(start: float, flux: list[float]) -> Orbit:
    time = start + GRID * np.arange(len(flux), dtype=np.float64)
    values = np.array(flux, dtype=np.float64)
    return Orbit(time, values, np.full(len(flux), 0.01), np.arange(len(flux)), GRID)


def test_peaks_are_the_highest_flux_between_the_bounds() -> None:
    orbits = [orbit(10.0, [1.0, 1.1, 1.3, np.nan, 1.2, 9.0]), orbit(20.0, [1.0, 1.5, 1.0])]
    bounds = [(1, 4), (1, 2.4), (3, 3), (0, 0)]
    rows: list[dict[str, object]] = [
        {"star_id": "a", "tstart": 10.0 + GRID * first, "tstop": 10.0 + GRID * last} for first, last in bounds
    ]
    rows += [
        {"star_id": "a", "tstart": 19.0, "tstop": 21.0},
        {"star_id": "a", "tpeak": 7.0, "tstart": 10.0, "tstop": 21.0},
        {"star_id": "a", "tstart": 10.0},
        {"star_id": "a", "tstart": 30.0, "tstop": 31.0},
    ]
    found = find_peaks(make(rows), orbits)
    expected = [10.0 + 2 * GRID, 10.0 + 2 * GRID, None, 10.0, 20.0 + GRID, 7.0, None, None]
    assert found["tpeak"].to_list() == expected
    assert found.drop("tpeak").equals(make(rows).drop("tpeak"))


def test_without_light_curve_no_peaks_are_found() -> None:
    labels = make([{"star_id": "a", "tstart": 1.0, "tstop": 2.0}])
    assert find_peaks(labels, []).equals(labels)


@pytest.mark.realdata
def test_the_published_lists(real_data: Path) -> None:
    folder = real_data / "flares"
    guenther = read_guenther(folder / "Guenther_2020_flare_catalog.txt")
    assert guenther.height == 8660
    assert guenther["tpeak"].is_between(1325.0, 1382.0).all()
    assert join_close(guenther).height == 7692
    assert read_fbeye(real_data / "tess" / "proxima_s0011_fbeye_flares.csv", "TIC 388857263").height == 91
    assert read_ilin_aumic(folder / "aumic_ilin_2021_12_final_flare_table.csv").height == 189
    cool = read_ilin_2021(folder / "ilin_2021_12_08_tess_flares.csv")
    assert cool.height == 1891 and (cool["amplitude"] > 0.0).all()
    missions = [
        read_ilin_planets(folder / "ilin_starplanet_flare_table.csv", mission) for mission in ("TESS", "Kepler", "K2")
    ]
    assert all((labels["tstop"] > labels["tstart"]).all() for labels in missions)
    assert [labels["star_id"].str.contains(r"^TIC \d+$").all() for labels in missions] == [True] * 3
    gj1243 = read_gj1243(folder / "gj1243_master_flares.tbl.gz")
    assert gj1243.height == 6107 and gj1243["tpeak"].is_between(539.0, 1274.0).all()
    for name in ("AUMic_Cycle1", "AUMic_Cycle3", "EVLac_Cycle2", "YZCMi_Cycle1", "YZCMi_Cycle3"):
        lines = (folder / f"ikuta_Flare_{name}.csv").read_text().splitlines()[1:]
        labels = read_ikuta(folder / f"ikuta_Flare_{name}.csv", "TIC 1")
        assert labels["tpeak"].to_list() == [float(line.split(",")[0]) for line in lines]


@pytest.mark.realdata
def test_two_lists_of_au_mic_agree_where_the_light_curve_shows_the_peaks(real_data: Path) -> None:
    """Names and times fit the light curve: the flares that both lists have peak at the same cadences."""
    star = read(next((real_data / "tess").glob("*441420236*")))
    orbits = split_orbits(star["time"], star["flux"], star["flux_err"], star["quality"], OrbitSettings())
    guenther = read_guenther(real_data / "flares" / "Guenther_2020_flare_catalog.txt")
    own = guenther.filter(pl.col("star_id") == star.star_id[0])["tpeak"].to_numpy()
    assert len(own) == 46
    ilin = read_ilin_aumic(real_data / "flares" / "aumic_ilin_2021_12_final_flare_table.csv")
    ilin = ilin.filter((pl.col("star_id") == star.star_id[0]) & (pl.col("tstart") < orbits[-1].time[-1]))
    found = find_peaks(ilin, orbits)
    assert found["tpeak"].null_count() == 0
    near = np.abs(found["tpeak"].to_numpy()[:, None] - own).min(axis=1) * 1440.0
    assert (near < 2.0).sum() >= 28
    after = ((found["tpeak"] - found["tstart"]) / orbits[0].cadence).to_numpy()
    assert (after < 3.5).mean() > 0.85
