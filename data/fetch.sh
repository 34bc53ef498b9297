#!/usr/bin/env bash
# Downloads data sets and models from their public homes:  data/fetch.sh [--list] [--to FOLDER] [--mirror URL] [NAME ...]
#   --list        what there is, from where, under which licence; downloads nothing
#   --to FOLDER   where to (default: data/downloads beside this script)
#   --mirror URL  get URL/<host>/<path> in place of https://<host>/<path>
# Without names: every data set, no model. A download that was cut off goes on where it stopped; a file that is there with the
# right checksum is not fetched again. Exit status: 0 all there, 1 something could not be fetched, 2 wrong arguments.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
to=$here/downloads
mirror=
list=no
names=()
while [ $# -gt 0 ]; do
    case $1 in
    --list) list=yes ;;
    --to) to=${2:?--to needs a folder} && shift ;;
    --mirror) mirror=${2:?--mirror needs a URL} && shift ;;
    -h | --help) sed -n '2,7s/^# //p' "$0"; exit 0 ;;
    -*) echo "fetch.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
    *) names+=("$1") ;;
    esac
    shift
done

# name | licence | file | URL without https:// | SHA-256 ("-": the publisher gives none; the first download's is kept)
github=raw.githubusercontent.com
hub=huggingface.co
files() {
    cat <<TABLE
crows-pairs|CC BY-SA 4.0|crows_pairs/crows_pairs_anonymized.csv|$github/nyu-mll/crows-pairs/8aaac11c485473159ec9328a65253a5be9a479dc/data/crows_pairs_anonymized.csv|dfb36986ce0502abbaf7055b9176da3d08d48e07df1251991b5dfbcbceab9d0c
stereoset|CC BY-SA 4.0|stereoset/dev.json|$github/moinnadeem/StereoSet/ead7d086a64a192a1eca88e0dd2fd163de375218/data/dev.json|-
honest|MIT|honest/binary/en_template.tsv|$github/MilaNLProc/honest/6efc7817cbeb36e61bba51a34bbce13ecc8af69f/resources/binary/en_template.tsv|31cc5a89729638975eaf0de3457ed87c6c7da67ef9058119f53d931f8e26727c
honest|MIT|honest/queer_nonqueer/en_template.tsv|$github/MilaNLProc/honest/6efc7817cbeb36e61bba51a34bbce13ecc8af69f/resources/queer_nonqueer/en_template.tsv|29fb950897942d26b99d1485a18739c8a22ceb9326a548fd14b17bc335191100
hurtlex|CC BY-NC-SA 4.0 (not for commercial use, never part of a package)|hurtlex/hurtlex_EN.tsv|$github/valeriobasile/hurtlex/e8205fa73b533d802d8b7fb6f846abd4be69ea63/lexica/EN/1.2/hurtlex_EN.tsv|a734820a63c87994781d182692e6dc7ec262c402016971a7fa31946ced0d470c
bold|CC BY-SA 4.0|bold/gender_prompt.json|$github/amazon-science/bold/3ad652c773f5d1e30d5f6f61657ed934d768ecad/prompts/gender_prompt.json|a863aaf2492e3c911c39f435005abee2eba5f5edabe836e97de110cd83273054
bold|CC BY-SA 4.0|bold/political_ideology_prompt.json|$github/amazon-science/bold/3ad652c773f5d1e30d5f6f61657ed934d768ecad/prompts/political_ideology_prompt.json|a83ea7cc272971b618231e13bcb5c1d1be5b208c92135c4ffde85be31f8ab4c6
bold|CC BY-SA 4.0|bold/profession_prompt.json|$github/amazon-science/bold/3ad652c773f5d1e30d5f6f61657ed934d768ecad/prompts/profession_prompt.json|5508012069f20419559417e64d8bb2b8d864ebf8afedd21e5ca564393c291794
bold|CC BY-SA 4.0|bold/race_prompt.json|$github/amazon-science/bold/3ad652c773f5d1e30d5f6f61657ed934d768ecad/prompts/race_prompt.json|200337f6c43b09671e580b1df6aea2cdc0196ee02779260e9881da07029e1cb6
bold|CC BY-SA 4.0|bold/religious_ideology_prompt.json|$github/amazon-science/bold/3ad652c773f5d1e30d5f6f61657ed934d768ecad/prompts/religious_ideology_prompt.json|633830ea87d569e5476895a93f68b8f686cb0dcae6d67a1091a9247c5c4c931d
real-toxicity-prompts|Apache-2.0|realtoxicityprompts/prompts.jsonl|$hub/datasets/allenai/real-toxicity-prompts/resolve/main/prompts.jsonl|-
regard|none stated by its authors: to test classifiers, not to be passed on|regard/regard/train.tsv|$github/ewsheng/nlg-bias/7f8d08ea4f33bf3368c5cb0d0ac5f9c515625546/data/regard/train.tsv|2b734fae84fa82ae969b5183607760c905cd333b90fd27e8d83ed311c6f923b0
regard|none stated by its authors: to test classifiers, not to be passed on|regard/regard/dev.tsv|$github/ewsheng/nlg-bias/7f8d08ea4f33bf3368c5cb0d0ac5f9c515625546/data/regard/dev.tsv|6d1eb2e617acfb55ddfe0e77f54f836f3093a379934e7aab07b1cb3e6facb5db
regard|none stated by its authors: to test classifiers, not to be passed on|regard/regard/test.tsv|$github/ewsheng/nlg-bias/7f8d08ea4f33bf3368c5cb0d0ac5f9c515625546/data/regard/test.tsv|1ac5fbd901cba6f441c153234eca41cb29d8719529ca81e760213bd9c7813017
regard|none stated by its authors: to test classifiers, not to be passed on|regard/regard/train_other.tsv|$github/ewsheng/nlg-bias/7f8d08ea4f33bf3368c5cb0d0ac5f9c515625546/data/regard/train_other.tsv|691dc49d3493ea878a77d9a6f3b77b6b01af2a5c3f3bf71d758969e8bf40aff7
real-toxicity-sample|Apache-2.0 (of the data set; the repository of this sample of 5,000 states none)|realtoxicityprompts/val.jsonl|$github/GXimingLu/Quark/30c9a0fe022b7d006b826abec2eb5d3ac288e637/data/toxicity/val.jsonl|e04b11a04505777e3fdf6e31c74edec623033d8808290745ce0f211ddaf380a7
bloomz-560m|BigScience RAIL 1.0 (restricts uses)|models/bloomz-560m/config.json|$hub/bigscience/bloomz-560m/resolve/main/config.json|-
bloomz-560m|BigScience RAIL 1.0 (restricts uses)|models/bloomz-560m/tokenizer.json|$hub/bigscience/bloomz-560m/resolve/main/tokenizer.json|-
bloomz-560m|BigScience RAIL 1.0 (restricts uses)|models/bloomz-560m/model.safetensors|$hub/bigscience/bloomz-560m/resolve/main/model.safetensors|-
flan-t5-small|Apache-2.0|models/flan-t5-small/config.json|$hub/google/flan-t5-small/resolve/main/config.json|-
flan-t5-small|Apache-2.0|models/flan-t5-small/tokenizer.json|$hub/google/flan-t5-small/resolve/main/tokenizer.json|-
flan-t5-small|Apache-2.0|models/flan-t5-small/model.safetensors|$hub/google/flan-t5-small/resolve/main/model.safetensors|-
flan-t5-base|Apache-2.0|models/flan-t5-base/config.json|$hub/google/flan-t5-base/resolve/main/config.json|-
flan-t5-base|Apache-2.0|models/flan-t5-base/tokenizer.json|$hub/google/flan-t5-base/resolve/main/tokenizer.json|-
flan-t5-base|Apache-2.0|models/flan-t5-base/model.safetensors|$hub/google/flan-t5-base/resolve/main/model.safetensors|-
gpt2|MIT|models/gpt2/config.json|$hub/openai-community/gpt2/resolve/main/config.json|-
gpt2|MIT|models/gpt2/tokenizer.json|$hub/openai-community/gpt2/resolve/main/tokenizer.json|-
gpt2|MIT|models/gpt2/model.safetensors|$hub/openai-community/gpt2/resolve/main/model.safetensors|-
bert-base-uncased|Apache-2.0|models/bert-base-uncased/config.json|$hub/google-bert/bert-base-uncased/resolve/main/config.json|-
bert-base-uncased|Apache-2.0|models/bert-base-uncased/tokenizer.json|$hub/google-bert/bert-base-uncased/resolve/main/tokenizer.json|-
bert-base-uncased|Apache-2.0|models/bert-base-uncased/model.safetensors|$hub/google-bert/bert-base-uncased/resolve/main/model.safetensors|-
TABLE
}

if [ $list = yes ]; then
    files | while IFS='|' read -r name licence file url _; do
        printf '%-22s %s\n%-22s   https://%s\n%-22s   -> %s\n' "$name" "$licence" '' "$url" '' "$file"
    done
    exit 0
fi
for name in "${names[@]}"; do
    files | grep -q "^$name|" || { echo "fetch.sh: there is no '$name'; --list shows what there is" >&2; exit 2; }
done
command -v curl >/dev/null || { echo 'fetch.sh: curl is missing: apt-get install curl' >&2; exit 1; }

wanted() { # wanted NAME FILE
    local name
    [ ${#names[@]} -gt 0 ] || { [[ $2 != models/* ]]; return; }
    for name in "${names[@]}"; do [ "$name" != "$1" ] || return 0; done
    return 1
}
digest() { sha256sum "$1" | cut -d' ' -f1; }
sums=$to/SHA256SUMS
known() { # the checksum of FILE: the table's, or the one of its first download
    if [ "$2" != - ]; then echo "$2"; elif [ -f "$sums" ]; then awk -v f="$1" '$2 == f { print $1 }' "$sums"; fi
}

fetch() { # fetch FILE URL SHA256
    local file=$1 url=https://$2 path=$to/$1 expected found
    [ -z "$mirror" ] || url=${mirror%/}/$2
    expected=$(known "$file" "$3")
    if [ -f "$path" ]; then
        found=$(digest "$path")
        if [ -z "$expected" ] || [ "$found" = "$expected" ]; then
            echo "  $file: there"
            return 0
        fi
        echo "  $file: there, but with another checksum: fetched again"
    fi
    mkdir -p "$(dirname "$path")"
    if ! curl -fL --retry 3 --retry-delay 1 --connect-timeout 20 -sS -C - -o "$path.part" "$url"; then
        echo "  $file: could not be fetched from $url" >&2
        return 1
    fi
    found=$(digest "$path.part")
    if [ -n "$expected" ] && [ "$found" != "$expected" ]; then
        rm -f "$path.part"
        echo "  $file: wrong checksum $found, expected $expected: removed" >&2
        return 1
    fi
    mv "$path.part" "$path"
    [ -n "$expected" ] || echo "$found  $file" >>"$sums"
    echo "  $file: fetched, SHA-256 $found"
}

failed=()
shown=
while IFS='|' read -r name licence file url sha256; do
    wanted "$name" "$file" || continue
    [ "$shown" = "$name" ] || echo "$name: licence $licence"
    shown=$name
    fetch "$file" "$url" "$sha256" </dev/null || failed+=("$file <- https://$url")
done < <(files)

if [ ${#failed[@]} -gt 0 ]; then
    {
        echo
        echo 'Not fetched:'
        printf '  %s\n' "${failed[@]}"
        echo "Behind a firewall: set https_proxy=http://PROXY:PORT; or give --mirror URL of a server inside; or fetch these files on"
        echo "another machine and copy them to $to under the names above, then run this again: it checks them."
    } >&2
    exit 1
fi
