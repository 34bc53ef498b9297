#!/usr/bin/env bash
# The pictures of the README: runs jobs/two-models.yaml (minutes; what is done is not done again) and writes its page as
# a browser shows it to results/report-1280.png and results/report-400.png.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
build/bin/evenhand-plant results/demo-world
for model in narrow:32 wide:80; do
    build/bin/evenhand run jobs/demo-base.yaml -n 2 --set "output=results/planted-${model%:*}" \
        --set "model.config={hidden_size: ${model#*:}, n_layer: 2, n_head: 4}"
done
build/bin/evenhand run jobs/two-models.yaml -n 2
for width in 400 1280; do
    bash tests/report/screenshot.sh results/two-models/report.html "$width" 1420 0 "results/report-$width.png"
done
ls -l results/report-*.png
