"""Compare all variants and the simple methods on the same test stars, and name the challenger.

The challenger is the variant with the best average precision of events on the validation stars: it depends on no
threshold, which is set by how many false events are allowed, and the test is never used to choose. What `make study`
has measured, at whatever size it last ran, stands beside in tables of its own.
"""

from pathlib import Path
from typing import Any

from varistar.figures.flares import comparison_figure
from varistar.figures.style import save_figure
from varistar.foundation.errors import ConfigError, one_sentence
from varistar.foundation.files import read_json, write_json
from varistar.foundation.params import find_root, lookup, read_params

from .evaluate import REPORTS

EVENTS = (
    "counted_labels", "counted_events", "counted_precision", "counted_precision_interval", "counted_recall",
    "counted_recall_interval", "counted_f1", "counted_f1_interval", "recall_lenient", "duplicates",
    "average_precision", "ece", "brier", "false",
)  # fmt: skip
WINDOWS = ("n", "n_flares", "accuracy", "precision", "recall", "f1", "average_precision", "roc_auc", "ece", "brier")
CADENCES = ("dice", "iou", "precision", "recall", "average_precision", "n_unscored")
#: Of the paper's ten networks together, on windows of its own, split by sample (section 2.4).
PUBLISHED = {"accuracy": 0.984, "precision": 0.988, "recall": 0.942, "average_precision": 0.992}
PAPER = "Feinstein et al. 2020, their windows"
#: What is printed of windows and cadences.
SHOWN = {
    "windows": ("accuracy", "precision", "recall", "average_precision", "roc_auc"),
    "cadences": ("dice", "iou", "precision", "recall", "average_precision"),
}
SHOWN_SNR = ("5-7", "7-10", "10-15", "15-30", ">=30")


def compare(root: Path) -> dict[str, Any]:
    """The comparison of everything that params.yaml trains, and of what the study has measured.

    Returns
    -------
    `challenger`, a variant's name; `validation`, what it was chosen by; `networks`, which of the methods are, `n_stars`
    and `days`; by method `events`, `windows`, `cadences` and `recovery`, those of its scores that are compared; and
    `study`, from `networks` on the same of the study, null where there is none.
    """
    params = read_params(root)
    variants = lookup(params, "flares.variants")
    folders = {section: root / folder for section, folder in REPORTS.items()}
    metrics = {name: read_json(folders["variants"] / f"{name}.json") for name in variants}
    study = {
        name: read_json(path)
        for name in (*variants, *(params["flares"].get("study") or {}))
        if (path := folders["study"] / f"{name}.json").exists()
    }
    return {
        "challenger": choose_challenger(metrics),
        "validation": {name: report["validation"] for name, report in metrics.items()},
        **_tables(metrics, folders["variants"]),
        "study": _tables(study, folders["study"]) if study else None,
    }


def _tables(reports: dict[str, dict[str, Any]], folder: Path) -> dict[str, Any]:
    """What is compared of these reports, beside the simple methods and recovery where `folder` has them."""
    first = next(iter(reports.values()))
    # what was measured on other stars, at another size, is no row of these tables
    networks = {name: report for name, report in reports.items() if report["test_set"] == first["test_set"]}
    simple, recovery = (
        read_json(path)["methods"] if (path := folder / f"{name}.json").exists() else {}
        for name in ("baselines", "recovery")
    )
    events = {name: report["events"] for name, report in networks.items()} | simple
    return {
        "networks": list(networks),
        "n_stars": first["n_stars"],
        "days": first["days"],
        "events": {name: _of(scores, EVENTS) for name, scores in events.items()},
        "windows": {PAPER: PUBLISHED} | {name: _of(one["windows"], WINDOWS) for name, one in networks.items()},
        "cadences": {name: _of(one["cadences"], CADENCES) for name, one in networks.items()},
        "members": {name: one["members"] for name, one in networks.items()},
        "recovery": {name: _of(one, ("by_snr", "by_amplitude", "false")) for name, one in recovery.items()},
    }


def choose_challenger(metrics: dict[str, dict[str, Any]]) -> str:
    """The variant with the best average precision of events on validation stars.

    Raises
    ------
    ConfigError
        When there is no variant.
    """
    if not metrics:
        raise ConfigError("params.yaml: flares.variants names no variant, so there is no challenger")
    return max(metrics, key=lambda name: metrics[name]["validation"]["average_precision"] or 0.0)


def best_first(events: dict[str, dict[str, Any]], networks: list[str]) -> dict[str, dict[str, Any]]:
    """The methods as they are read: networks before simple methods, the better before the worse."""
    return dict(sorted(events.items(), key=lambda row: (row[0] not in networks, -(row[1]["counted_f1"] or 0.0))))


def comparison_lines(summary: dict[str, Any]) -> list[str]:
    """The comparison as printed tables: events, windows, cadences and injected flares; the study's after the others."""
    return _lines(summary, "") + (_lines(summary["study"], ", the study") if summary["study"] else [])


def _lines(tables: dict[str, Any], whose: str) -> list[str]:
    rows = best_first(tables["events"], tables["networks"])
    n = max(row["counted_labels"] for row in rows.values())
    lines = [
        "",
        f"events{whose}: {n} flares of S/N 3 or more on {tables['n_stars']} test stars, {tables['days']:.0f} days",
        f"  {'method':<38}{'F1':>20}{'precision':>11}{'recall':>8}{'AP':>8}{'twice':>7}{'false a day':>13}",
    ]
    for method, row in rows.items():
        low, high = row["counted_f1_interval"] or (row["counted_f1"],) * 2
        interval = f"{_number(row['counted_f1'])} ({_number(low)}-{_number(high)})"
        line = f"  {method:<38}{interval:>20}{_number(row['counted_precision']):>11}{_number(row['counted_recall']):>8}"
        per_day = row["false"]["all"]["per_day"]
        lines.append(f"{line}{_number(row['average_precision']):>8}{row['duplicates']:>7}{per_day:>13.3f}")
    lines += _table(
        f"windows{whose}", tables["windows"], ("accuracy", "precision", "recall", "average_precision", "roc_auc")
    )
    lines += _table(f"cadences{whose}", tables["cadences"], ("dice", "iou", "precision", "recall", "average_precision"))
    lines += ["", f"flares injected into calm stars{whose}: recovered by peak S/N, and false events a day there"]
    lines.append(f"  {'method':<38}" + "".join(f"{cell:>8}" for cell in SHOWN_SNR) + f"{'as it is':>10}{'flipped':>9}")
    for method, row in tables["recovery"].items():
        shares = "".join(f"{_number(row['by_snr'].get(cell, {}).get('fraction')):>8}" for cell in SHOWN_SNR)
        false = (row["false"][kind]["per_day"] for kind in ("uninjected", "flipped"))
        lines.append(f"  {method:<38}{shares}" + "".join(f"{one:>{10 - k}.3f}" for k, one in enumerate(false)))
    return lines


def _table(title: str, rows: dict[str, dict[str, Any]], columns: tuple[str, ...]) -> list[str]:
    names = [name.replace("average_precision", "AP").replace("_", " ") for name in columns]
    lines = ["", title, f"  {'method':<38}" + "".join(f"{name:>10}" for name in names)]
    for method, row in rows.items():
        lines.append(f"  {method:<38}" + "".join(f"{_number(row.get(name)):>10}" for name in columns))
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _of(scores: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: scores[name] for name in names if name in scores}


def main() -> None:
    """The stage: the comparison of all variants, as JSON and a figure."""
    root = find_root()
    summary = compare(root)
    write_json(root / "metrics/flares.json", summary)
    for tables, whose in ((summary, ""), (summary["study"], "-study")):
        if tables:
            rows = best_first(tables["events"], tables["networks"])
            title = f"events on {tables['n_stars']} test stars" + whose.replace("-", " of the ")
            figure = comparison_figure(rows, tables["networks"], title)
            save_figure(figure, root / "build/figures/flares/comparison" / f"events{whose}.png")
    print("\n".join([*comparison_lines(summary), "", f"challenger: {summary['challenger']}"]))


if __name__ == "__main__":
    with one_sentence():
        main()
