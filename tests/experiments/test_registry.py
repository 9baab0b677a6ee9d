"""The champion changes as a whole or not at all, and can come back."""

import json
import shutil
import subprocess

import pytest

from varistar.experiments import registry
from varistar.experiments.content import WEIGHTS, content_hash
from varistar.experiments.gates import Comparison, Gate
from varistar.experiments.registry import champion, history, promote, rollback
from varistar.foundation.errors import DataError, RegistryError, VaristarError

GATES = {"acc10": Gate(minimum=0.3, least_change=0.0)}

PROMOTE = """
import sys
from pathlib import Path
from varistar.experiments.gates import Comparison, Gate
from varistar.experiments.registry import promote
from varistar.foundation.errors import VaristarError
root, candidate, comparison = map(Path, sys.argv[1:])
compared = Comparison.model_validate_json(comparison.read_text())
print("ready", flush=True)
sys.stdin.readline()
try:
    print(promote(root, "periods", candidate, compared, "a race", gates={"acc10": Gate(minimum=0.0)}).content_hash)
except VaristarError as error:
    print(error)
"""


@pytest.fixture
def promoted(repository, make_content, compare):
    """Promote the content of a seed over whoever is champion; return its hash."""

    def run(seed: int) -> str:
        candidate = make_content(seed)
        try:
            incumbent = champion(repository, "periods").content_hash
        except RegistryError:
            incumbent = None
        return promote(
            repository, "periods", candidate, compare(candidate, incumbent), f"seed {seed}", gates=GATES
        ).content_hash

    return run


def test_without_a_champion_the_way_to_one_is_told(repository):
    with pytest.raises(RegistryError, match=r"^no champion for periods: train one and run varistar promote periods$"):
        champion(repository, "periods")


def test_a_first_promotion(repository, make_content, compare, promoted):
    digest = promoted(0)
    found = champion(repository, "periods")
    assert found.content_hash == digest == content_hash(make_content(0))
    assert found.folder == repository / "models" / "periods" / digest[:12]
    assert content_hash(found.folder) == digest
    assert found.comparison == compare(make_content(0), None)
    assert found.reason == "seed 0"
    (event,) = history(repository, "periods")
    assert (event.action, event.content, event.previous, event.forced) == ("promote", digest, None, False)
    assert event.when == found.since


def test_the_record_is_readable_and_complete(repository, promoted):
    first, second = promoted(0), promoted(1)
    record = json.loads((repository / "registry" / "periods.json").read_text())
    assert record["champion"]["content"] == second
    assert record["champion"]["comparison"]["challenger"]["metrics"] == {"acc10": 0.6}
    assert record["champion"]["comparison"]["champion"]["content"] == first
    assert record["line"] == [first, second]
    assert [event["reason"] for event in record["history"]] == ["seed 0", "seed 1"]


def test_the_better_one_replaces_and_a_rollback_brings_back(repository, promoted):
    first, second = promoted(0), promoted(1)
    evidence = history(repository, "periods")[0].comparison
    back = rollback(repository, "periods", "it was wrong about eclipses")
    assert (back.content_hash, back.reason, back.comparison) == (first, "it was wrong about eclipses", evidence)
    assert [(e.action, e.content, e.previous) for e in history(repository, "periods")] == [
        ("promote", first, None),
        ("promote", second, first),
        ("rollback", first, second),
    ]
    with pytest.raises(RegistryError, match="no champion of periods before the present one"):
        rollback(repository, "periods", "once more")
    assert promoted(1) == second
    assert rollback(repository, "periods", "again").content_hash == first


def test_the_last_champions_are_kept_and_older_ones_let_go(repository, promoted):
    digests = [promoted(seed) for seed in range(5)]
    folder = repository / "models" / "periods"
    assert {path.name for path in folder.iterdir()} == {digest[:12] for digest in digests[2:]}
    assert rollback(repository, "periods", "r").content_hash == digests[3]
    assert digests[4][:12] in {path.name for path in folder.iterdir()}, "what a rollback sets aside stays at hand"
    assert rollback(repository, "periods", "r").content_hash == digests[2]
    with pytest.raises(RegistryError, match=rf"{digests[1][:12]} is missing: 'dvc pull models\.dvc'"):
        rollback(repository, "periods", "r")
    assert champion(repository, "periods").content_hash == digests[2]


def test_a_challenger_that_fails_a_gate_stays_outside(repository, make_content, compare, promoted):
    first = promoted(0)
    candidate = make_content(1)
    worse = compare(candidate, first, gain=-0.1)
    before = _snapshot(repository)
    with pytest.raises(RegistryError, match=r"does not pass the gates of periods: acc10 changes by -0\.1, less than"):
        promote(repository, "periods", candidate, worse, "r", gates=GATES)
    assert _snapshot(repository) == before
    forced = promote(repository, "periods", candidate, worse, "I know better", gates=GATES, forced=True)
    assert forced.content_hash == content_hash(candidate)
    last = history(repository, "periods")[-1]
    assert last.forced
    assert last.failures == ("acc10 changes by -0.1, less than +0",)


def test_a_comparison_on_another_test_set_is_refused(repository, make_content, compare, promoted):
    first = promoted(0)
    candidate = make_content(1)
    compared = compare(candidate, first)
    other = compared.model_copy(update={"champion": compared.champion.model_copy(update={"test_set": "older"})})
    for forced in (False, True):
        with pytest.raises(RegistryError, match="scored on different test sets"):
            promote(repository, "periods", candidate, other, "r", gates=GATES, forced=forced)


def test_the_comparison_must_be_of_these_two(repository, make_content, compare, promoted):
    first, second = promoted(0), promoted(1)
    candidate, another = make_content(2), make_content(3)
    for comparison, sentence in (
        (compare(another, second), "the comparison is of .*, not of the candidate"),
        (compare(candidate, None), f"was not compared with the champion {second[:12]}"),
        (compare(candidate, first), f"compared with {first[:12]}, but {second[:12]} is champion now: compare again"),
    ):
        with pytest.raises(RegistryError, match=sentence):
            promote(repository, "periods", candidate, comparison, "r", gates=GATES)
    forced = promote(repository, "periods", candidate, compare(candidate, None), "r", gates=GATES, forced=True)
    assert forced.content_hash == content_hash(candidate)


def test_a_comparison_with_a_champion_that_is_none_is_refused(repository, make_content, compare):
    candidate = make_content(0)
    with pytest.raises(RegistryError, match="but nobody is champion now"):
        promote(repository, "periods", candidate, compare(candidate, "f" * 64), "r", gates=GATES)


def test_promoting_the_champion_again_changes_nothing_but_repairs(repository, make_content, compare, promoted):
    first = promoted(0)
    before = _snapshot(repository)
    (repository / "models" / "periods" / first[:12] / WEIGHTS).write_bytes(b"damaged")
    again = promote(repository, "periods", make_content(0), compare(make_content(0), None), "r", gates=GATES)
    assert again.content_hash == first
    assert _snapshot(repository) == before


def test_a_candidate_of_another_wing_or_without_a_reason_is_refused(repository, make_content, compare):
    flares = make_content(0, wing="flares")
    with pytest.raises(RegistryError, match="a model of the wing flares, not of periods"):
        promote(repository, "periods", flares, compare(flares, None), "r", gates=GATES)
    with pytest.raises(RegistryError, match="a reason is needed"):
        promote(repository, "flares", flares, compare(flares, None), " ", gates=GATES)
    with pytest.raises(RegistryError, match=r"'\.\./flares' is not the name of a wing"):
        champion(repository, "../flares")


def test_a_candidate_with_a_pickle_is_refused(repository, make_content, compare):
    candidate = make_content(0)
    comparison = compare(candidate, None)
    (candidate / "optimizer.pt").write_bytes(b"")
    with pytest.raises(RegistryError, match=r"refusing 'optimizer\.pt'"):
        promote(repository, "periods", candidate, comparison, "r", gates=GATES)
    assert not (repository / "models").exists()


def test_damage_to_the_content_is_noticed(repository, promoted):
    folder = repository / "models" / "periods" / promoted(0)[:12]
    weights = (folder / WEIGHTS).read_bytes()
    one_bit = weights[:-1] + bytes([weights[-1] ^ 1])
    for damage, sentence in (
        (lambda: (folder / WEIGHTS).write_bytes(one_bit), "damaged: it is not the model"),
        (lambda: (folder / WEIGHTS).unlink(), "damaged: it is not the model"),
        (lambda: shutil.rmtree(folder), r"is missing: 'dvc pull models\.dvc'"),
    ):
        damage()
        with pytest.raises(RegistryError, match=sentence):
            champion(repository, "periods")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda record: "{", "not valid JSON"),
        (lambda record: "[]", "expected a JSON object"),
        (lambda record: json.dumps({**record, "surprise": 1}), "key 'surprise' does not exist"),
        (lambda record: json.dumps({**record, "line": record["line"][:-1]}), "contradicts itself"),
        (lambda record: json.dumps({**record, "history": []}), "contradicts itself"),
        (lambda record: json.dumps({**record, "wing": "flares"}), "contradicts itself"),
    ],
)
def test_damage_to_the_record_is_noticed(repository, promoted, change, sentence):
    promoted(0)
    promoted(1)
    path = repository / "registry" / "periods.json"
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(RegistryError, match=rf"registry/periods\.json: .*{sentence}"):
        champion(repository, "periods")


@pytest.mark.parametrize("where", ["write_json", "_copy", "_prune"])
def test_an_interrupted_promotion_leaves_a_whole_champion(
    repository, make_content, compare, promoted, monkeypatch, where
):
    """Before the record is written the old one stands, after it the new one; and the next attempt succeeds."""
    first = promoted(0)
    candidate = make_content(1)

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry, where, interrupted)
        with pytest.raises(KeyboardInterrupt):
            promote(repository, "periods", candidate, compare(candidate, first), "r", gates=GATES)
    expected = content_hash(candidate) if where == "_prune" else first
    assert champion(repository, "periods").content_hash == expected
    assert promoted(1) == content_hash(candidate)
    assert champion(repository, "periods").content_hash == content_hash(candidate)


def test_a_copy_that_breaks_off_leaves_nothing(repository, make_content, compare, promoted, monkeypatch):
    first = promoted(0)
    candidate = make_content(1)
    before = _snapshot(repository)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry.shutil, "copyfile", full)
    with pytest.raises(DataError, match="No space left on device"):
        promote(repository, "periods", candidate, compare(candidate, first), "r", gates=GATES)
    assert _snapshot(repository) == before


def test_what_a_killed_promotion_left_is_cleared_away(repository, promoted):
    first = promoted(0)
    folder = repository / "models" / "periods"
    (folder / f".{'a' * 12}.xyz.tmp").mkdir()
    (folder / ("b" * 12)).mkdir()
    (folder / "notes of a user").mkdir()
    second = promoted(1)
    assert {path.name for path in folder.iterdir()} == {first[:12], second[:12], "notes of a user"}


def test_two_promotions_at_once(repository, make_content, compare, promoted, tmp_path, python):
    """Both were compared with the same champion: one wins, the other is told who is champion now."""
    first = promoted(0)
    processes = []
    for seed in (1, 2):
        candidate = make_content(seed)
        file = tmp_path / f"{seed}.json"
        file.write_text(compare(candidate, first).model_dump_json())
        processes.append(python(PROMOTE, repository, candidate, file))
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = sorted((process.communicate()[0].strip() for process in processes), key=len)
    winner = champion(repository, "periods").content_hash
    assert answers[0] == winner != first
    assert f"compared with {first[:12]}, but {winner[:12]} is champion now" in answers[1]
    assert len(history(repository, "periods")) == 2


def test_a_promotion_waits_for_another_and_says_so_in_the_end(repository, make_content, compare, monkeypatch):
    candidate = make_content(0)
    monkeypatch.setattr(registry, "LOCK_SECONDS", 0.05)
    seen = []

    def second(*arguments: object, **options: object) -> None:
        try:
            rollback(repository, "periods", "at the same time")
        except VaristarError as error:
            seen.append(str(error))

    monkeypatch.setattr(registry, "_prune", second)
    promote(repository, "periods", candidate, compare(candidate, None), "r", gates=GATES)
    assert seen == ["another promotion of periods has been going on for 0 s: wait for it or stop it"]


def test_the_commit_of_a_promotion_is_recorded(repository, promoted):
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(repository), "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    git("commit", "--allow-empty", "-m", "first")
    promoted(0)
    assert history(repository, "periods")[0].commit == git("rev-parse", "HEAD")


def test_a_comparison_survives_json(make_content, compare):
    comparison = compare(make_content(0), "f" * 64)
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def _snapshot(root):
    """Every file under models/ and registry/ with its bytes."""
    return {
        path.relative_to(root): path.read_bytes()
        for folder in ("models", "registry")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }
