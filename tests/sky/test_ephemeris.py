"""Places in the sky against astropy's."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord, get_body
from astropy.time import Time

from varistar.sky import ephemeris
from varistar.sky.ephemeris import Direction

MJD = np.linspace(58484.0, 60312.0, 400)


@pytest.mark.parametrize(("body", "place", "own_error"), [("sun", ephemeris.sun, 0.01), ("moon", ephemeris.moon, 0.5)])
def test_sun_and_moon_stand_where_astropy_says(body, place, own_error) -> None:  # type: ignore[no-untyped-def]
    ours = place(MJD)
    theirs = get_body(body, Time(MJD, format="mjd"))
    apart = SkyCoord(ours.ra, ours.dec, unit="rad").separation(SkyCoord(theirs.ra, theirs.dec)).deg
    # the series are for the equinox of date, astropy's for J2000: 24 years of 50.3 arcseconds
    assert apart.max() < own_error + 24 * 50.3 / 3600


def test_sidereal_time() -> None:
    longitude = np.radians(-70.8)
    theirs = Time(MJD, format="mjd", scale="ut1").sidereal_time("mean", longitude=-70.8).rad
    difference = (ephemeris.sidereal_time(MJD, longitude) - theirs + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(difference).max() < 1e-4


def test_altitude_of_known_places() -> None:
    latitude, sidereal = np.radians(-30.0), np.asarray(1.3)
    zenith, pole = Direction(np.asarray(1.3), np.asarray(latitude)), Direction(np.asarray(0.0), np.asarray(-np.pi / 2))
    assert ephemeris.sine_altitude(zenith, sidereal, latitude) == pytest.approx(1.0)
    assert ephemeris.sine_altitude(pole, sidereal, latitude) == pytest.approx(0.5)


def test_separation_and_galactic_latitude() -> None:
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 2 * np.pi, (2, 200)), np.arcsin(rng.uniform(-1, 1, (2, 200)))
    a, b = SkyCoord(ra[0], dec[0], unit="rad"), SkyCoord(ra[1], dec[1], unit="rad")
    ours = ephemeris.separation(Direction(ra[0], dec[0]), Direction(ra[1], dec[1]))
    # arccos loses half the digits near 0 and pi
    np.testing.assert_allclose(ours, a.separation(b).rad, atol=1e-7)
    np.testing.assert_allclose(
        ephemeris.galactic_latitude(Direction(ra[0], dec[0])), a.galactic.b.rad, atol=np.radians(0.001)
    )
