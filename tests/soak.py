"""Random deaths: a prediction that is killed at any moment, as often as you like, ends in the same catalog.

    python tests/soak.py [--seed N] [--local N] [--dask N] [--ray N] [--model FOLDER]

Each round begins the same prediction anew and disturbs it at random moments: by the death of all its processes at once,
after which the same command is given again, or of one of its workers. Prints a table; the exit code is 1 when a catalog
differs from that of an undisturbed run by one byte.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from varistar.experiments.registry import champion
from varistar.foundation.errors import one_sentence

REPOSITORY = Path(__file__).resolve().parent.parent
SURVEY = REPOSITORY / "data/ground/light_curves"
STARS_PER_PIECE = 32  # of the survey's 104 a shard: enough pieces to be killed between
PATIENCE = 300  # seconds for one run

PROGRAM = f"""
import sys
from pathlib import Path
from varistar.bulk.engine import read_engine
from varistar.catalog.predict import predict
from varistar.foundation.errors import one_sentence
from varistar.surveys import pieces

if __name__ == "__main__":
    pieces.STARS_PER_PIECE = {STARS_PER_PIECE}
    survey, model, output, engine = sys.argv[1:]
    with one_sentence():
        predict([Path(survey)], Path(model), Path(output), read_engine(engine, 2))
"""


@dataclass(frozen=True)
class Round:
    """One prediction: how it was disturbed, how often its command was given, and what became of its bytes."""

    engine: str
    deaths: str
    runs: int
    seconds: float
    outcome: str


def main() -> int:
    arguments = _arguments()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "predict.py").write_text(PROGRAM)
        model = arguments.model.resolve() if arguments.model else _champion()
        usual = float("inf")
        for _ in range(2):  # the first run may compile
            started = time.monotonic()
            if not _finish(_start(folder, model, "undisturbed", "local")):
                sys.exit("the undisturbed prediction failed")
            expected, usual = _catalog(folder, "undisturbed"), min(usual, time.monotonic() - started)
        print(f"undisturbed: {usual:.1f} s, seed {arguments.seed}")
        print("engine  deaths                                runs  seconds  catalog", flush=True)
        rounds = []
        for engine, count in (("local", arguments.local), ("dask", arguments.dask), ("ray", arguments.ray)):
            for number in range(count):
                rounds.append(_round(folder, model, engine, f"{engine}-{number}", usual, expected, chance))
                _show(rounds[-1])
    different = sum(one.outcome != "same" for one in rounds)
    print(f"{len(rounds)} rounds, {different} catalogs differ or are missing")
    return 1 if different or not rounds else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"seed": 0, "local": 20, "dask": 5, "ray": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--model", type=Path, default=None, help="folder of a model; by default the champion")
    return parser.parse_args()


def _champion() -> Path:
    """The champion, which `make pull` fetches."""
    if not SURVEY.is_dir():
        sys.exit(f"{SURVEY}: not there; run make pull first")
    with one_sentence():
        return champion(REPOSITORY, "periods").folder


def _round(
    folder: Path, model: Path, engine: str, name: str, usual: float, expected: dict[str, bytes], chance: random.Random
) -> Round:
    """Kill a prediction one to three times, and let it end."""
    started, deaths, runs = time.monotonic(), [], 1
    process = _start(folder, model, name, engine)
    try:
        for _ in range(chance.randint(1, 3)):
            while _ends_within(process, chance.uniform(0.05, 0.95) * usual) and not deaths and process.returncode == 0:
                _catalog(folder, name)  # it was faster than its death: once more from the start
                process = _start(folder, model, name, engine)
            if process.poll() is not None:
                break
            workers = [pid for pid in _session(process.pid) if _is_worker(pid)]
            if workers and chance.random() < 0.5:
                _kill([chance.choice(workers)])
                deaths.append("worker")
                continue
            _kill(_session(process.pid))
            process.communicate()
            deaths.append("all")
            process, runs = _start(folder, model, name, engine), runs + 1
        if not (ended := _finish(process)) and deaths:  # as if a piece's worker dies twice, or while its cluster starts
            process, runs = _start(folder, model, name, engine), runs + 1
            ended = _finish(process)
        outcome = "FAILED" if not ended else "same" if _catalog(folder, name) == expected else "DIFFERENT"
    finally:
        _kill(_session(process.pid))
    return Round(engine, ", ".join(deaths) or "none", runs, time.monotonic() - started, outcome)


def _ends_within(process: subprocess.Popen, seconds: float) -> bool:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _start(folder: Path, model: Path, name: str, engine: str) -> subprocess.Popen:
    """The prediction, as the head of a session of its own."""
    return subprocess.Popen(
        [sys.executable, "predict.py", SURVEY, model, folder / name / "catalog.parquet", engine],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _finish(process: subprocess.Popen) -> bool:
    """Wait for the end, and see that nobody is left; returns whether it was a good one."""
    try:
        return process.wait(timeout=PATIENCE) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        _kill(_session(process.pid))


def _session(head: int) -> list[int]:
    """The processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3]) == head:
                found.append(int(folder.name))
        except OSError:  # it has just ended
            continue
    return found


def _is_worker(pid: int) -> bool:
    """Whether a process does pieces: one of Dask's, one of Ray's that is at a task, or one forked by a server."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        parent = (Path(f"/proc/{pid}/stat").read_text()).rsplit(")", 1)[1].split()[1]
        forked = b"forkserver" in command and b"forkserver" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False
    return forked or b"spawn_main" in command or command.startswith(b"ray::attempt")


def _kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _catalog(folder: Path, name: str) -> dict[str, bytes]:
    """The files of a prediction by their names, which are then removed; hidden ones are no result."""
    files = {path.name: path.read_bytes() for path in (folder / name).glob("[!.]*") if path.is_file()}
    shutil.rmtree(folder / name, ignore_errors=True)
    return files


def _show(one: Round) -> None:
    print(f"{one.engine:<6}  {one.deaths:<36}  {one.runs:>4}  {one.seconds:>7.1f}  {one.outcome}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
