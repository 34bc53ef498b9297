#!/usr/bin/env bash
# The include check holds for this tree, and it can fail.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
check_includes=$EVENHAND_SOURCE/tests/style/check_includes.sh

run bash "$check_includes" "$EVENHAND_SOURCE"
check 'no include points up' equal "$code" 0
echo "$out"

mkdir -p "$work/src/io" "$work/src/job" "$work/stages"
echo '#include "io/csv.h"' >"$work/src/job/read.c"
echo '#include "job/job.h"' >"$work/stages/run.c"
run bash "$check_includes" "$work"
check 'downwards is allowed' equal "$code" 0
echo '  #  include "job/job.h"' >"$work/src/io/csv.c"
run bash "$check_includes" "$work"
check 'upwards is refused' equal "$code" 1
check 'with the place' has "$out" 'src/io/csv.c:1: io may not include job/job.h'
rm "$work/src/io/csv.c"
mkdir "$work/src/new"
echo '#include "core/log.h"' >"$work/src/new/a.c"
run bash "$check_includes" "$work"
check 'an unknown folder is refused' equal "$code" 1
rm -r "$work/src" "$work/stages"
mkdir "$work/src" "$work/stages"
run bash "$check_includes" "$work"
check 'nothing to check is no success' equal "$code" 1
finish
