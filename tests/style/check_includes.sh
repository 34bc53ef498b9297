#!/usr/bin/env bash
# Includes point downwards only: stages > report > metrics, train > model, dataset > job > io, text > comm > backend > core.
# Folders of one level do not include each other. `test_includes.sh ROOT` checks another tree.
set -euo pipefail
root=${1:-$EVENHAND_SOURCE}
cd "$root"
declare -A level=([core]=0 [backend]=1 [comm]=2 [io]=3 [text]=3 [job]=4 [model]=5 [dataset]=5 [metrics]=6 [train]=6
    [report]=7 [stages]=8)
bad=0 count=0
while IFS=: read -r file line text; do
    included=$(sed -E 's/.*"([^"]*)".*/\1/' <<<"$text")
    case $file in src/*/*) from=${file#src/} from=${from%%/*} ;; *) from=stages ;; esac
    case $included in */*) to=${included%%/*} ;; *) continue ;; esac # of the same folder
    [ "$from" = stages ] && [ -e "stages/$included" ] && continue
    count=$((count + 1))
    if [ -z "${level[$from]:-}" ] || [ -z "${level[$to]:-}" ]; then
        echo "$file:$line: unknown folder in $included"
        bad=$((bad + 1))
    elif [ "$from" != "$to" ] && [ "${level[$to]}" -ge "${level[$from]}" ]; then
        echo "$file:$line: $from may not include $included"
        bad=$((bad + 1))
    fi
done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' src stages --include='*.[ch]' --include='*.cu' --include='*.cuh')
echo "$count includes, $bad that point up"
[ "$count" -gt 0 ] && [ "$bad" -eq 0 ]
