#!/usr/bin/env bash
# Licence, no unfinished places, no paths of somebody's machine.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$EVENHAND_SOURCE"
check 'Apache-2.0' grep -q 'Apache License' LICENSE
unfinished=$(grep -rnE '\b(TO''DO|FIX''ME|X''XX)\b' src stages tests jobs slurm --include='*' | head -5)
check 'nothing is left for later' equal "$unfinished" ''
# shellcheck disable=SC2016
machine=$(grep -rnE '(^|[^a-zA-Z.$}])/(work|home|root)/' src stages tests jobs slurm README.md CMakeLists.txt .ci 2>/dev/null |
    grep -v 'tests/style/test_text.sh' | head -5)
check 'no paths of one machine' equal "$machine" ''
finish
