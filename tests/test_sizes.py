"""Switching sizes changes what the size says and nothing else, and back again is the same file to the byte."""

import itertools
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, get_args

import pytest

from varistar.config import Params, Size, read_config, set_value
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.params import lookup, read_params
from varistar.foundation.settings import validate
from varistar.sizes import Cost, Costs, apply_switch, estimate, plan_switch

REPOSITORY = Path(__file__).resolve().parents[1]
SIZES: tuple[str, ...] = get_args(Size)


def text_of(root: Path) -> str:
    return (root / "params.yaml").read_text(encoding="utf-8")


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every value below a mapping, by its dotted key."""
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= leaves(inner, f"{path}.{key}".removeprefix("."))
    return found


@pytest.mark.parametrize("name", SIZES)
def test_a_size_sets_what_it_says_and_nothing_else(project: Path, name: str) -> None:
    before = read_params(project)
    switch = plan_switch(project, name)
    assert read_params(project) == before, "a plan writes nothing"
    apply_switch(project, switch)
    after = read_params(project)
    wanted = before["sizes"][name] | {"size": name}
    for key, value in wanted.items():
        assert lookup(after, key) == value, key
    old = leaves({key: value for key, value in before.items() if key != "sizes"})
    new = leaves({key: value for key, value in after.items() if key != "sizes"})
    assert after["sizes"] == before["sizes"]
    differing = {key: (old[key], new[key]) for key in old if old[key] != new[key]}
    assert {key: pair for key, pair in differing.items() if key in wanted} == switch.changes
    # the study and the presets train as the variants do, whose settings they share
    for key in set(differing) - set(wanted):
        assert key.startswith(("periods.study.", "periods.presets.")), key
        assert differing[key] in [pair for one, pair in differing.items() if one in wanted and one[-8:] == key[-8:]]
    assert read_config(project).size == name


def test_there_and_back_gives_the_same_file(project: Path) -> None:
    before = text_of(project)
    texts = {}
    for name in (*SIZES, *reversed(SIZES), "laptop", "paper", "laptop"):
        apply_switch(project, plan_switch(project, name))
        assert text_of(project) == texts.setdefault(name, text_of(project)), name
    assert texts["laptop"] == before
    assert len(set(texts.values())) == len(SIZES)


def test_comments_and_order_stay(project: Path) -> None:
    before = text_of(project).splitlines()
    switch = plan_switch(project, "paper")
    after = switch.text.splitlines()
    assert len(after) == len(before)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert 0 < len(changed) <= len(switch.changes)
    for old, new in changed:
        assert old.partition("#")[2] == new.partition("#")[2]
        assert old.split(":")[0] == new.split(":")[0]


def test_to_the_size_it_has_changes_nothing(project: Path) -> None:
    switch = plan_switch(project, "laptop")
    assert switch.changes == {}
    assert switch.text == text_of(project)


def rewrite(project: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    params = read_params(project)
    change(params)
    (project / "params.yaml").write_text(json.dumps(params))


def refusal(project: Path, name: str) -> str:
    before = text_of(project)
    with pytest.raises(ConfigError) as error:
        plan_switch(project, name)
    assert text_of(project) == before
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix("params.yaml: ")


def test_sizes_that_do_not_exist(project: Path) -> None:
    assert refusal(project, "huge") == "'size': Input should be 'smoke', 'laptop', 'study' or 'paper' (got 'huge')"
    rewrite(project, lambda params: params["sizes"].pop("paper"))
    assert refusal(project, "paper") == "'sizes.paper' does not exist; sizes has smoke, laptop, study"


def test_a_size_may_set_only_what_exists_and_is_allowed(project: Path) -> None:
    rewrite(project, lambda params: params["sizes"]["smoke"].update({"periods.samples.dwarf.simulations": 1}))
    assert refusal(project, "smoke") == "'periods.samples.dwarf.simulations' does not exist"
    rewrite(project, lambda params: params["sizes"]["study"].update({"periods.samples.clump.simulations": -1}))
    assert refusal(project, "study").startswith("'periods.samples.clump.simulations': Input should be greater than 0")


def test_wrong_params_are_not_switched(project: Path) -> None:
    rewrite(project, lambda params: params["sky"].update(seed="x"))
    assert refusal(project, "smoke").startswith("'sky.seed': Input should be a valid integer")
    (project / "params.yaml").write_text("sky: [\n")
    assert "not valid YAML at line 2" in refusal(project, "smoke")


def test_one_anchor_cannot_hold_two_values(project: Path) -> None:
    """Two keys that share a YAML anchor would both take the last value, silently."""
    block = r"training: &period_axis_training\n(?: {8}.*\n)+"
    shared, replaced = re.subn(block, "training: *paper_training\n", text_of(project))
    assert replaced == 1
    shared = shared.replace("*period_axis_training", "*paper_training")
    (project / "params.yaml").write_text(shared)
    assert refusal(project, "study").startswith(
        "'sizes.study' cannot set 'periods.variants.clump-8-16-32.training.max_epochs' to 14, since it is one YAML "
        "anchor with another key"
    )
    apply_switch(project, plan_switch(project, "smoke"))
    assert {variant.training.max_epochs for variant in read_config(project).periods.variants.values()} == {2}


def test_a_full_disk_keeps_the_old_params(
    project: Path, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    before = text_of(project)
    switch = plan_switch(project, "paper")
    with small_disk(100), pytest.raises(DataError, match=r"params\.yaml: cannot be written: File too large"):
        apply_switch(project, switch)
    assert text_of(project) == before
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


# What a size costs


def costs_with(changes: dict[str, Any]) -> Costs:
    """What the project's parameters cost with these dotted keys changed."""
    params = json.loads(json.dumps(read_params(REPOSITORY)))  # without anchors
    for key, value in changes.items():
        set_value(params, key, value)
    return estimate(validate(Params, params, "params.yaml"))


def test_a_larger_size_costs_more(project: Path) -> None:
    costs = [plan_switch(project, name).costs for name in ("smoke", "laptop", "study", "paper")]
    for smaller, larger in itertools.pairwise(costs):
        assert larger.rebuild.seconds > 1.5 * smaller.rebuild.seconds
        assert larger.rebuild.bytes > 2 * smaller.rebuild.bytes
        assert larger.study.seconds > 1.5 * smaller.study.seconds


def test_sizes_are_what_they_are_called(project: Path) -> None:
    assert plan_switch(project, "laptop").costs.rebuild.seconds < 600, "ten minutes on two cores"
    assert plan_switch(project, "smoke").costs.rebuild.seconds < 480, "some minutes"
    assert 3600 < plan_switch(project, "study").costs.study.seconds < 3 * 3600, "two hours"


@pytest.mark.parametrize(
    "key",
    [
        "periods.samples.clump.simulations",
        "periods.samples.quasar.simulations",
        "periods.samples.broad.simulations",
        "periods.variants.clump-8-16-32.training.max_epochs",
        "periods.variants.period-axis.training.max_epochs",
    ],
)
def test_the_cost_grows_with_everything_that_there_is_more_of(key: str) -> None:
    costs = [costs_with({key: value}).rebuild for value in (100, 1000, 10_000)]
    assert costs[0].seconds < costs[1].seconds < costs[2].seconds
    assert (costs[0].bytes < costs[2].bytes) == key.endswith("simulations")
    # once the fixed costs are taken off, ten times as much costs ten times as much
    assert costs[2].seconds - costs[1].seconds == pytest.approx(10 * (costs[1].seconds - costs[0].seconds), rel=1e-9)


def test_what_nothing_needs_costs_nothing() -> None:
    """Samples and images of the study are no part of a rebuild, and those of a rebuild no part of the study."""
    plain = costs_with({})
    more = costs_with({"periods.samples.broad-augmented.simulations": 10**6})
    assert more.rebuild == plain.rebuild
    assert more.study.seconds > 2 * plain.study.seconds and more.study.bytes > 2 * plain.study.bytes
    unused = costs_with({"flares.study": {}, "periods.study": {}, "periods.samples.broad-augmented.simulations": 10**6})
    assert unused.rebuild == plain.rebuild
    assert (unused.study.seconds, unused.study.bytes) == (0, 0)
    simulated = costs_with({"periods.samples.quasar.simulations": 102_400})
    assert simulated.rebuild.bytes - plain.rebuild.bytes == 100_000 * 6_700
    assert simulated.study.bytes - plain.study.bytes == 100_000 * 3 * 64 * 64, "three ways to show it"


def test_training_by_hand() -> None:
    """Epochs x examples x rate; two members side by side take as long as one, three as long as four."""
    seconds = {
        members: costs_with(
            {
                "periods.variants.clump-8-16-32.members": members,
                "periods.variants.clump-8-16-32.training.max_epochs": 14,
                "periods.samples.clump.simulations": 16_000,
            }
        ).rebuild.seconds
        for members in (1, 2, 3, 4)
    }
    epochs, examples, tested = 14, 0.7 * 16_000, 0.1 * (16_000 + 2_400 + 6_000)
    one, star = epochs * examples / 1e4 * 3.0, tested * 0.004 / 2
    # the first member is measured twice where there are several
    assert seconds[2] - seconds[1] == pytest.approx(2 * star)
    assert seconds[3] - seconds[2] == pytest.approx(one + star)
    assert seconds[4] - seconds[3] == pytest.approx(star)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"filters": [16, 16, 16]}, 5.5 / 3),
        ({"filters": [12, 16, 16]}, 5.5 / 3),
        ({"filters": [32, 16, 16]}, 4),
        ({"filters": [64, 64, 64]}, 11),
        ({"filters": [128, 64, 64]}, 44),
    ],
)
def test_wider_networks_cost_more(changes: dict[str, Any], factor: float) -> None:
    plain = costs_with({}).rebuild.seconds
    network = {"trunk": "image", "head": "laplace"} | changes
    wide = costs_with({"periods.variants.clump-8-16-32.network": network}).rebuild.seconds
    once = 10 * 0.7 * 0.5 * 3.0
    assert wide - plain == pytest.approx((factor - 1) * once)


def test_full_precision_costs_more() -> None:
    mixed, full = (
        costs_with({"periods.variants.period-axis.training.precision": precision}).rebuild.seconds
        for precision in ("mixed", "float32")
    )
    assert full - mixed == pytest.approx(8 * 0.7 * 0.6 * 10.0)


@pytest.mark.parametrize(
    ("seconds", "size", "said"),
    [
        (5, 4e5, "about a minute on two cores and 0 MB of disk"),
        (89, 999e6, "about a minute on two cores and 999 MB of disk"),
        (120, 1e9, "about 2 minutes on two cores and 1.0 GB of disk"),
        (3540, 1.2e6, "about 59 minutes on two cores and 1 MB of disk"),
        (7200, 36.3e9, "about 2 hours on two cores and 36.3 GB of disk"),
        (4 * 86400, 2e12, "about 4 days on two cores and 2000.0 GB of disk"),
    ],
)
def test_costs_in_words(seconds: float, size: float, said: str) -> None:
    assert str(Cost(seconds, size)) == said
