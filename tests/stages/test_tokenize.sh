#!/usr/bin/env bash
# evenhand-tokenize as a whole program: the same shards on any number of ranks, nothing done twice, nothing half written
# after kill -9 or on a full disk, and one clear message with file and line for input that is none.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
tokenize=$EVENHAND_BIN/evenhand-tokenize
mpirun=(mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n)
cd "$work"
"$EVENHAND_BIN/evenhand-plant" --sentences 4000 world >/dev/null 2>&1 || { echo "no planted world"; exit 1; }
model='{architecture: bloom, config: {model_type: bloom, vocab_size: 2048}, tokenizer: world/tokenizer.json}'
job() { # job FILE DATA-ENTRY...
    local file=$1 entry
    shift
    printf 'output: out\nmodel: %s\ndata:\n' "$model" >"$file"
    for entry in "$@"; do printf '  - {%s}\n' "$entry" >>"$file"; done
    printf 'evaluate: [{metric: stereoset}]\n' >>"$file"
}
job all.yaml 'name: pairs, format: crows-pairs, path: world/pairs.csv, use: train, task: gap-fill, holdout: 0.2' \
    'name: tests, format: stereoset, path: world/stereoset.json, use: evaluate' \
    'name: corpus, format: text, path: world/corpus.txt, use: train, task: lm, holdout: 0.1'

# --- Any number of ranks ---
run "$tokenize" all.yaml
check 'one rank' equal "$code" 0
check 'the log says how many are held out' has "$err" 'held out ('
mv out one
for ranks in 2 3 5; do
    run "${mpirun[@]}" "$ranks" "$tokenize" all.yaml
    check "$ranks ranks" equal "$code" 0
    check "$ranks ranks: the same bytes" diff -r one/shards out/shards
    [ "$ranks" = 5 ] || rm -rf out
done
sum() { find out/shards -type f -printf '%p %T@ %s\n' | sort; }
before=$(sum)
run "${mpirun[@]}" 2 "$tokenize" all.yaml
check 'again: nothing to do' equal "$(grep -c 'up to date' <<<"$err")" 3
check 'again: no file is touched' equal "$(sum)" "$before"
echo 'one more line' >>world/corpus.txt
run "$tokenize" all.yaml
check 'a changed source: that one is made again' equal "$(grep -c 'up to date' <<<"$err")" 2

# --- Only some groups train ---
job some.yaml 'name: pairs, format: crows-pairs, path: world/pairs.csv, use: train, task: gap-fill, train_on: "job, trait"'
run "$tokenize" some.yaml --set output=some
check 'train_on' equal "$code" 0
check 'train_on: the others are held out' equal "$(grep -c ' 0 to train on' <<<"$err") $(grep -c 'place .*(100.0 %)' <<<"$err")" '1 1'
sed -i 's/trait"/triat"/' some.yaml
run "$tokenize" some.yaml --set output=wrong
check 'train_on: a wrong name' equal "$code" 2
check 'train_on: is named' has "$err" "pairs: there is no group 'triat'"

# --- Prompts with completions: the prompt as it stands, then the answer ---
job prompts.yaml 'name: questions, format: jsonl, path: world/instructions.jsonl, use: train, task: rewrite, limit: 2'
run "$tokenize" prompts.yaml --set output=prompts
check 'prompts' equal "$code" 0
run "$EVENHAND_BIN/evenhand" inspect prompts/shards/questions-00000-of-00001.h5
check 'prompts: the template' has "$out" '"{text}"'

# --- Killed ---
rm -rf out
for _ in $(seq 40); do cat world/corpus.txt; done >big.txt
job big.yaml 'name: big, format: text, path: big.txt, use: train, task: lm'
"$tokenize" big.yaml >/dev/null 2>&1 &
victim=$!
for _ in $(seq 200); do # wait for the first part of a shard, then kill
    compgen -G 'out/shards/.big-*.part' >/dev/null && break
    sleep 0.01
done
check 'it is writing' compgen -G 'out/shards/.big-*.part' >/dev/null
kill -9 $victim 2>/dev/null
wait $victim 2>/dev/null
check 'killed: nothing under a final name' equal "$(ls out/shards/*.h5 2>/dev/null | wc -l)" 0
run "${mpirun[@]}" 2 "$tokenize" big.yaml
check 'killed and run again' equal "$code" 0
check 'no parts are left' equal "$(ls -A out/shards | grep -c part)" 0
mv out/shards killed
rm -rf out
run "$tokenize" big.yaml
check 'the same as never killed' diff -r killed out/shards
run "$EVENHAND_BIN/evenhand" inspect out/shards/big-00000-of-*.h5 --example 2 --tokenizer world/tokenizer.json
check 'inspect shows an example' has "$out" 'example 2 of'
check 'with its text' has "$out" "$(sed -n 2p world/corpus.txt | cut -c1-40)"
run "$EVENHAND_BIN/evenhand" inspect out/shards/big-00000-of-*.h5 --example 99999999
check 'inspect: no such example' equal "$code" 2

# --- A full disk: a file system of 300 KiB, in a mount namespace of our own ---
rm -rf out
mkdir out
if unshare -rm mount -t tmpfs -o size=300k none out 2>/dev/null; then
    cat >full.sh <<'SH'
mount -t tmpfs -o size=300k none out
"$1" big.yaml >full.out 2>full.err
echo $? >full.code
ls -A out/shards >full.files
SH
    unshare -rm bash full.sh "$tokenize"
    check 'a full disk: exit 3' equal "$(cat full.code)" 3
    check 'a full disk: one message' equal "$(grep -c 'No space left on device' full.err)" 1
    check 'a full disk: which file' has "$(cat full.err)" 'out/shards/'
    check 'a full disk: nothing is left' equal "$(cat full.files)" ''
else
    echo 'not tested: a full disk (this system lets no user mount a tmpfs)'
fi

# --- Bad input: exit 2, one message that names file and line, within seconds on three ranks ---
refuse() { # refuse NAME DATA-ENTRY WORDS
    rm -rf out
    job bad.yaml "$2"
    run timeout "${patience:-20}" "${mpirun[@]}" 3 "$tokenize" bad.yaml
    check "$1: exit 2" equal "$code" 2
    check "$1: says where" has "$err" "$3"
    check "$1: once" equal "$(grep -cF -- "$3" <<<"$err")" 1
    check "$1: no shard" equal "$(ls -A out/shards 2>/dev/null | grep -c h5)" 0
}
train='use: train, task: lm'
refuse 'no file' "name: x, format: text, path: none.txt, $train" 'none.txt: No such file'
refuse 'unknown format' "name: x, format: crowspairs, path: big.txt, $train" "crowspairs"
head -c 3000 "$tokenize" >binary.txt
refuse 'a binary file' "name: x, format: text, path: binary.txt, $train" 'binary.txt:1: NUL at byte'
cut -d, -f1-3 world/pairs.csv >columns.csv
refuse 'a missing column' "name: x, format: crows-pairs, path: columns.csv, use: train, task: gap-fill" \
    "columns.csv:1: there is no column 'stereo_antistereo'"
head -c 2000 world/stereoset.json >cut.json
refuse 'truncated JSON' 'name: x, format: stereoset, path: cut.json, use: evaluate' 'cut.json:'
printf '{"id": "a", "prompt": "x"}\n{"id": "b", "prompt": "y"}\n{"id": "a", "prompt": "z"}\n' >twice.jsonl
refuse 'duplicate ids' 'name: x, format: jsonl, path: twice.jsonl, use: evaluate' 'twice.jsonl:3: its id was used before, in line 1'
printf 'id,more,less\n7,a b,a c\n8,d e,d f\n7,g,h\n' >twice.csv
refuse 'duplicate ids of pairs' 'name: x, format: pairs, path: twice.csv, use: train, task: rewrite' \
    "twice.csv:4: the id '7' was used before, in line 2"
printf '{"prompt": "x"}\n{"prompt": "y"\n' >broken.jsonl
refuse 'a broken line' 'name: x, format: jsonl, path: broken.jsonl, use: evaluate' 'broken.jsonl:2: column'
printf 'more,less\na b,a c\n"d, e,f\n' >quote.csv
refuse 'an open quote' 'name: x, format: pairs, path: quote.csv, use: train, task: rewrite' 'quote.csv:3: a quote in this row is never closed'
: >empty.txt
refuse 'an empty file' "name: x, format: text, path: empty.txt, $train" 'empty.txt: the file is empty'
refuse 'a task that does not fit' 'name: x, format: text, path: big.txt, use: train, task: gap-fill' \
    'this task needs pairs of sentences'
refuse 'an unknown field in a prompt' \
    'name: x, format: crows-pairs, path: world/pairs.csv, use: train, task: rewrite, prompt: "{txt}"' "unknown field '{txt}'"

patience=200 # the digest of 2 GB comes first, and there may be other work
for kind in text pairs; do # sparse: it takes no room
    printf 'more,less' >long.$kind
    truncate -s 2G long.$kind
    refuse "a line of 2 GB as $kind" "name: x, format: $kind, path: long.$kind, use: train, task: lm" 'long.'$kind':1: '
done
rm -f long.*
patience=20
planted=$model
for damage in 'not JSON' 'an unknown token'; do
    if [ "$damage" = 'not JSON' ]; then
        head -c 3000 world/tokenizer.json >broken.json
    else
        python3 - <<'PY'
import json
t = json.load(open("world/tokenizer.json"))
t["model"]["type"] = "BPE"
t["model"] = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}
json.dump(t, open("broken.json", "w"), indent=1)
PY
    fi
    model=${planted/world\/tokenizer.json/broken.json}
    words="broken.json:"
    [ "$damage" = 'not JSON' ] || words="broken.json: merge 0: its result 'ab' is not in the vocabulary"
    refuse "a tokenizer with $damage" "name: x, format: text, path: big.txt, $train" "$words"
done
model=$planted

# --- Rows that can't be used are counted and listed ---
rm -rf out
printf 'more,less,group\na b,a c,g\nonly one\n,x,g\nd e,d f,h\nsame,same,h\nbad \xff,y,h\n' >rows.csv
job rows.yaml 'name: rows, format: pairs, path: rows.csv, use: train, task: gap-fill'
run "${mpirun[@]}" 2 "$tokenize" rows.yaml
check 'rejected rows: exit 0' equal "$code" 0
check 'rejected rows are counted' has "$err" '4 rejected'
check 'rejected rows are listed' equal "$(cat out/shards/rows-rejected.csv)" 'row,line,reason
1,3,"too few columns"
2,4,"a sentence of the pair is empty"
4,6,"the two sentences are the same"
5,7,"not UTF-8"'
finish
