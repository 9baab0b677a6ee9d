"""The quantities by name: what each means, how two values are compared, and whether the star or the survey sets it."""

from typing import Literal, NamedTuple

#: How two samples are compared: `ratio` by the ratio of their medians; `magnitude` by the difference of their medians,
#: which is a ratio of fluxes; `share`, mostly zero, by the ratio of their means; `correlation` by the difference of
#: their medians.
Scale = Literal["ratio", "magnitude", "share", "correlation"]
Group = Literal[
    "cadence", "cameras", "depth", "errors", "scatter", "zero points", "tails", "memory", "response", "power"
]


class Quantity(NamedTuple):
    """A quantity's group, scale, unit and meaning, and whether the star itself decides it rather than the survey."""

    group: Group
    scale: Scale
    unit: str
    meaning: str
    intrinsic: bool = False


def _memory(lag: str) -> dict[str, Quantity]:
    words = "in one night" if lag == "same_night" else f"about {lag.removesuffix('d')} d apart"
    # Between cameras, what lasts longer than a night is the star's own variation.
    return {
        f"memory_{lag}": Quantity("memory", "correlation", "", f"correlation of residuals {words}, same camera"),
        f"shared_{lag}": Quantity(
            "memory", "correlation", "", f"correlation of residuals {words}, two cameras", lag != "same_night"
        ),
    }


#: What is measured, in the order of the tables.
QUANTITIES: dict[str, Quantity] = {
    "points_per_season": Quantity("cadence", "ratio", "", "rows in a season, median of seasons"),
    "epochs_per_season": Quantity("cadence", "ratio", "", "epochs (rows within 0.01 d are one) in a season"),
    "nights_per_season": Quantity("cadence", "ratio", "", "nights in a season"),
    "points_per_night": Quantity("cadence", "ratio", "", "rows in a night, mean"),
    "points_per_epoch": Quantity("cadence", "ratio", "", "rows in an epoch, mean"),
    "season_length": Quantity("cadence", "ratio", "d", "from a season's first to its last row, median"),
    "season_gap": Quantity("cadence", "ratio", "d", "between neighbouring seasons, median"),
    "gap_10": Quantity("cadence", "ratio", "d", "10 % point of gaps between epochs of a season"),
    "gap_median": Quantity("cadence", "ratio", "d", "median gap between epochs of a season"),
    "gap_90": Quantity("cadence", "ratio", "d", "90 % point of gaps between epochs of a season"),
    "gap_largest": Quantity("cadence", "ratio", "d", "largest gap inside a season"),
    "hour_concentration": Quantity("cadence", "ratio", "", "spectral window of the epochs at 1 d"),
    "moon_concentration": Quantity("cadence", "ratio", "", "spectral window of the epochs at 29.53 d"),
    "cameras": Quantity("cameras", "ratio", "", "number of cameras"),
    "camera_share": Quantity("cameras", "ratio", "", "share of rows of the camera with most"),
    "camera_switches": Quantity("cameras", "ratio", "", "share of successive rows in different cameras"),
    "nondetections": Quantity("depth", "share", "", "share of rows without magnitude"),
    "flagged": Quantity("depth", "ratio", "", "share of rows with a quality flag"),
    "limit_median": Quantity("depth", "magnitude", "mag", "median limit of good rows"),
    "limit_spread": Quantity("depth", "ratio", "mag", "half the 16 to 84 % range of limits"),
    "limit_of_cameras": Quantity("depth", "ratio", "mag", "standard deviation of the cameras' median limits"),
    "limit_lost": Quantity("depth", "magnitude", "mag", "median limit of good rows less that of others"),
    "fwhm_median": Quantity("depth", "ratio", "px", "median width of good rows"),
    "fwhm_spread": Quantity("depth", "ratio", "px", "half the 16 to 84 % range of widths"),
    "fwhm_of_cameras": Quantity("depth", "ratio", "px", "standard deviation of the cameras' median widths"),
    "error": Quantity("errors", "ratio", "mag", "median stated error"),
    "error_spread": Quantity("errors", "ratio", "", "half the 16 to 84 % range of errors, over the median"),
    "error_over_limit": Quantity("errors", "ratio", "", "stated error over the one that the limit implies, median"),
    "scatter": Quantity("scatter", "ratio", "mag", "robust standard deviation of residuals"),
    "scatter_over_error": Quantity("scatter", "ratio", "", "robust standard deviation of residual over stated error"),
    "same_night_over_error": Quantity("scatter", "ratio", "", "the same of steps in a night, one camera"),
    "night_to_night_over_error": Quantity("scatter", "ratio", "", "the same of steps to the next night, one camera"),
    "camera_offsets": Quantity("zero points", "ratio", "mag", "standard deviation of the cameras' zero points"),
    "camera_drift": Quantity("zero points", "ratio", "mag", "robust sd of a camera's 60 d medians of residuals"),
    "trend_sd": Quantity("zero points", "ratio", "mag", "robust sd of the trend that all cameras share", True),
    "outliers_4": Quantity("tails", "share", "", "share of residuals beyond 4 robust sd"),
    "outliers_bright": Quantity("tails", "share", "", "share of residuals brighter by 4 robust sd, no dips"),
    "outliers_6": Quantity("tails", "share", "", "share of residuals beyond 6 robust sd"),
    "asymmetry": Quantity("tails", "correlation", "", "of the 2 and 98 % points of residuals; positive is faint"),
    "kurtosis": Quantity("tails", "ratio", "", "of residuals clipped at 10 robust sd; 3 for a normal distribution"),
    **_memory("same_night"),
    **_memory("1d"),
    **_memory("3d"),
    **_memory("10d"),
    **_memory("30d"),
    "fwhm_response": Quantity("response", "ratio", "", "size of the correlation of residual and width, by camera"),
    "limit_response": Quantity("response", "ratio", "", "size of the correlation of residual and limit, by camera"),
    "power_day": Quantity("power", "ratio", "", "Lomb-Scargle power of residuals at 1 d over the median"),
    "power_sidereal_day": Quantity("power", "ratio", "", "the same at 0.9973 d"),
    "power_month": Quantity("power", "ratio", "", "the same at 29.53 d"),
    "power_year": Quantity("power", "ratio", "", "the same at 365.25 d, of residual and trend", True),
    "power_peak": Quantity("power", "ratio", "", "the highest peak below 30 d over the median power"),
}
