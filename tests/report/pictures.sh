#!/usr/bin/env bash
# The pictures of the README, from the page of a sweep: pictures.sh OUTPUT [FOLDER]. Writes FOLDER/report-1280.png and
# report-400.png (default: results/).
set -euo pipefail
here=$(dirname "$0")
folder=${2:-$here/../../results}
bash "$here/screenshot.sh" "$1/report.html" 1280 1420 0 "$folder/report-1280.png"
bash "$here/screenshot.sh" "$1/report.html" 400 1420 0 "$folder/report-400.png"
ls -l "$folder"/report-*.png
