#!/usr/bin/env bash
# A page as a browser shows it: screenshot.sh PAGE WIDTH HEIGHT TOP OUT.png, from TOP pixels down; or, with only PAGE and
# WIDTH, prints by how many pixels the page is wider than the window (0 or less: nothing is cut off or scrolls sideways).
# The page is put into a frame of that width, for a browser's own window can't be narrower than 500 pixels.
set -euo pipefail
page=$(realpath "$1") width=$2 height=${3:-900} top=${4:-0} out=${5:-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/frame.html" <<HTML
<!doctype html><body style="margin:0;overflow:hidden;background:#8d939c;display:flex;justify-content:center">
<div style="width:${width}px;height:${height}px;overflow:hidden"><iframe src="file://$page" style="border:0;width:${width}px;height:30000px;margin-top:-${top}px"></iframe></div>
<p id="over" hidden>?</p>
<script>onload = () => { const root = document.querySelector('iframe').contentDocument.documentElement;
  document.getElementById('over').textContent = 'over=' + (root.scrollWidth - root.clientWidth); };</script>
HTML
browse() {
    timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --allow-file-access-from-files \
        --user-data-dir="$folder/profile" --window-size="$((width < 500 ? 500 : width)),$height" "$@" \
        "file://$folder/frame.html" 2>"$folder/log"
}
if [ -z "$out" ]; then
    browse --virtual-time-budget=20000 --dump-dom | sed -n 's/.*over=\(-\{0,1\}[0-9]*\)<.*/\1/p'
    exit
fi
browse --screenshot="$folder/shot.png" >/dev/null
mv "$folder/shot.png" "$out"
