# For test scripts: source it. Each check prints what was expected and found when it fails, and counts; end with `finish`.
set -uo pipefail
passed=0 failed=0
work=$(mktemp -d)
on_exit=()
clean_up() {
    local command
    for command in "${on_exit[@]:-}"; do [ -z "$command" ] || eval "$command"; done
    rm -rf "$work"
}
trap clean_up EXIT

check() { # check NAME COMMAND...
    local name=$1
    shift
    if "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $name: $*"
    fi
}
equal() { [ "$1" = "$2" ] || { printf '  found    %q\n  expected %q\n' "$1" "$2"; return 1; }; }
has() { grep -qF -- "$2" <<<"$1" || { printf '  %q\n  is not in %q\n' "$2" "$1"; return 1; }; }
has_not() { ! has "$@" >/dev/null || { printf '  %q\n  is in %q\n' "$2" "$1"; return 1; }; }

# run COMMAND...: sets $code, $out and $err.
run() {
    "$@" >"$work/.out" 2>"$work/.err"
    code=$?
    out=$(cat "$work/.out")
    err=$(cat "$work/.err")
}
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
