#!/usr/bin/env bash
# data/fetch.sh against a server on loopback: checksums, resuming, licences, what it says where nothing can be fetched.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
command -v python3 >/dev/null && command -v curl >/dev/null || { echo 'SKIPPED TEST: needs python3 and curl'; exit 0; }
[ -d "$EVENHAND_SHARED/datasets" ] || { echo 'SKIPPED TEST: no shared data'; exit 0; }
cd "$work"
cat >server.py <<'PY'
import http.server, os, re
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = "." + self.path
        with open("requests", "a") as log:
            log.write(f"{self.path} {self.headers.get('Range')}\n")
        if not os.path.isfile(path):
            return self.send_error(404)
        data = open(path, "rb").read()
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(match.group(1)) if match else 0
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
with open("port.part", "w") as f:
    f.write(str(server.server_port))
os.rename("port.part", "port")
server.serve_forever()
PY
crows=raw.githubusercontent.com/nyu-mll/crows-pairs/8aaac11c485473159ec9328a65253a5be9a479dc/data
mkdir -p "$crows" huggingface.co/openai-community/gpt2/resolve/main
source_file=$EVENHAND_SHARED/datasets/crows_pairs/crows_pairs_anonymized.csv
cp "$source_file" "$crows/"
for f in config.json tokenizer.json model.safetensors; do echo "$f" >huggingface.co/openai-community/gpt2/resolve/main/$f; done
python3 server.py &
on_exit+=("kill $! 2>/dev/null")
for _ in $(seq 100); do [ -f port ] && break; sleep 0.05; done
fetch() { run "$EVENHAND_SOURCE/data/fetch.sh" --to got --mirror "http://127.0.0.1:$(cat port)" "$@"; }

fetch crows-pairs
check 'fetched' equal "$code" 0
check 'the licence is shown' has "$out" 'crows-pairs: licence CC BY-SA 4.0'
check 'the file' cmp got/crows_pairs/crows_pairs_anonymized.csv "$source_file"
fetch crows-pairs
check 'again: it is there' has "$out" 'there'
check 'again: no request' equal "$(wc -l <requests)" 1

rm -r got
mkdir -p got/crows_pairs
head -c 100000 "$source_file" >got/crows_pairs/crows_pairs_anonymized.csv.part
fetch crows-pairs
check 'resumed' cmp got/crows_pairs/crows_pairs_anonymized.csv "$source_file"
check 'resumed from where it was cut off' has "$(tail -1 requests)" 'bytes=100000-'

echo tampered >>got/crows_pairs/crows_pairs_anonymized.csv
fetch crows-pairs
check 'a changed file is fetched again' cmp got/crows_pairs/crows_pairs_anonymized.csv "$source_file"
rm -r got
echo tampered >>"$crows/crows_pairs_anonymized.csv"
fetch crows-pairs
check 'wrong checksum: exit 1' equal "$code" 1
check 'wrong checksum: said' has "$err" 'wrong checksum'
check 'wrong checksum: no file' equal "$(find got -type f | wc -l)" 0

fetch gpt2
check 'a model' equal "$code $(cat got/models/gpt2/config.json)" '0 config.json'
check 'its checksums are kept' equal "$(wc -l <got/SHA256SUMS)" 3
fetch stereoset
check 'nothing to be had: exit 1' equal "$code" 1
check 'nothing to be had: what to do' has "$err" 'Behind a firewall: set https_proxy'
check 'nothing to be had: which file' has "$err" 'stereoset/dev.json <- https://raw.githubusercontent.com/moinnadeem/StereoSet'
fetch no-such-thing
check 'an unknown name' equal "$code" 2
run "$EVENHAND_SOURCE/data/fetch.sh" --list
known=0
while IFS='|' read -r _ licence file _ sha256; do # the files here are the published ones, byte for byte
    check "$file: a licence" [ -n "$licence" ]
    [ -f "$EVENHAND_SHARED/datasets/$file" ] && [ "$sha256" != - ] || continue
    check "$file: its checksum" equal "$sha256" "$(sha256sum "$EVENHAND_SHARED/datasets/$file" | cut -d' ' -f1)"
    known=$((known + 1))
done < <(grep -E '^[a-z0-9-]+\|.*\|([0-9a-f]{64}|-)$' "$EVENHAND_SOURCE/data/fetch.sh")
check 'checksums that were compared' equal "$known" 14
check 'the list names licences' has "$out" 'CC BY-NC-SA 4.0 (not for commercial use'
finish
