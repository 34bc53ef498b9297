#!/usr/bin/env bash
# A report of two models with controls, as its readers meet it: LaTeX compiles, the page needs nothing else and no script,
# says what its pictures show, and fits a phone and a laptop.
set -uo pipefail
source "$EVENHAND_SOURCE/tests/support/checks.sh"
folder=$work/a-report
mkdir "$folder"
"$EVENHAND_TESTS/report_tool_made_report" "$folder" >/dev/null 2>"$folder/log" || { cat "$folder/log"; exit 1; }

for page in report.html small/report.html; do
    file=$folder/$page
    pictures=$(grep -c '<svg' "$file")
    check "$page has pictures" [ "$pictures" -ge 6 ]
    check "$page: each says in words what it shows" [ "$(grep -c '<svg [^>]*role="img" aria-label="[^"]\{20,\}' "$file")" = "$pictures" ]
    check "$page loads nothing" [ "$(grep -cE '(src|url\()|@import|<link|https?:' "$file")" = 0 ]
    check "$page: one script, which only searches" [ "$(grep -c '<script' "$file")" = 1 ]
    check "$page: the verdict comes first" [ "$(grep -o 'id="[a-z]*"' "$file" | head -1)" = 'id="verdict"' ]
    check "$page is one document" [ "$(grep -c '</html>' "$file")" = 1 ]
done
check "the items that changed are there without a script" grep -q '<ul class="flips">' "$folder/small/report.html"
check "the search field shows itself only with one" grep -q 'type="search" hidden' "$folder/small/report.html"
check "cells say their column where tables are stacked" grep -q 'data-label="before LMS"' "$folder/report.html"

if command -v pdflatex >/dev/null && kpsewhich booktabs.sty >/dev/null; then
    cd "$folder" || exit 1
    {
        echo '\documentclass{article}\usepackage[T1]{fontenc}'
        echo '\usepackage[landscape,margin=1.5cm]{geometry}\usepackage{booktabs,graphicx,longtable,xcolor}\begin{document}'
        for table in tables/*.tex; do echo "\\input{$table}\\clearpage"; done
        echo '\end{document}'
    } >all.tex
    run pdflatex -interaction=nonstopmode -halt-on-error all.tex
    check "LaTeX compiles every table: $(grep -m 3 '^!' <<<"$out")" [ "$code" = 0 ]
    check "in a PDF of a page for each table at least" [ "$(sed -n 's/.*Output written on all.pdf (\([0-9]*\) pages.*/\1/p' all.log)" -ge "$(ls tables/*.tex | wc -l)" ]
    check "that does not run over its margins" [ "$(grep -c '^Overfull .hbox' all.log)" = 0 ]
    check "nor its pages" [ "$(grep -c '^LaTeX Warning: Float too large' all.log)" = 0 ]
else
    echo "not checked here: LaTeX (no pdflatex with booktabs; Debian: texlive-latex-recommended)"
fi
if command -v chromium >/dev/null; then
    for width in 400 1280; do
        for page in report.html large/report.html; do
            over=$(bash "$EVENHAND_SOURCE/tests/report/screenshot.sh" "$folder/$page" "$width")
            check "$page fits $width pixels (over by '$over')" [ "${over:-1}" -le 0 ]
        done
    done
else
    echo "not checked here: the page in a browser (no chromium)"
fi
finish
