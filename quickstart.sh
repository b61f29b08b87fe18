#!/usr/bin/env bash
# Sets up and runs all steps on the procedural `shapes` scenes: prepare, train, evaluate, generate,
# export. Usage: bash quickstart.sh [OUTPUT]   (default: ./quickstart_run)
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-quickstart_run}

[ -d .venv ] || python3 -m venv .venv
.venv/bin/pip install --quiet --editable '.[serving]'
run() { echo "== python -m $*"; .venv/bin/python -m "$@"; }

[ -f "$out/data/dataset.json" ] ||
  run oasis_tf.prepare --dataset=shapes --output="$out/data" --label_files="$out/labels"
run oasis_tf.train --flagfile=quickstart.flags --data_dir="$out/data" --model_dir="$out/model"
run oasis_tf.evaluate --model_dir="$out/model" --metrics=fid,segmentation,alignment --segmenter_steps=400 \
  --json="$out/evaluation.json"
run oasis_tf.synthesize --model_dir="$out/model" --labels="$out/labels" --num_samples=4 \
  --output="$out/images" --grid="$out/grid.png" --overwrite
run export.savedmodel --model_dir="$out/model" --output="$out/serving/oasis"
echo "Images: $out/grid.png, $out/model/samples/   SavedModel: $out/serving/oasis/"
