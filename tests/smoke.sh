#!/usr/bin/env bash
# The whole pipeline at smoke size, in a scratch clone of the last commit, so that params, lock and metrics here stay.
set -euo pipefail
[ -z "$(git status --porcelain --untracked-files=no)" ] || echo "smoke: uncommitted changes are not in the clone" >&2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git clone --quiet . "$scratch/varistar"
cd "$scratch/varistar"
export PYTHONPATH="$PWD/src"
varistar size smoke --yes
dvc pull --quiet data.dvc models.dvc
dvc repro --quiet compare flares/dvc.yaml:compare
varistar promote periods --force --reason "smoke test: any network will do"
varistar promote flares --force --reason "smoke test: any network will do"
dvc repro --quiet completeness flares/dvc.yaml:flare_science
varistar report
varistar predict periods data/ground/light_curves --output "$scratch/again.parquet"
python - "$scratch/again.parquet" build/catalog/periods.parquet <<'PYTHON'
import sys

import polars as pl

again, catalog = (pl.read_parquet(path) for path in sys.argv[1:])
assert catalog.height > 100, catalog.height
assert again.equals(catalog), "predicting again gave another catalog"
PYTHON
dvc repro --quiet compare illustrate completeness flares/dvc.yaml:compare flares/dvc.yaml:flare_science
varistar status
