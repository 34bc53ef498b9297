#!/usr/bin/env bash
# Mitigation or damage, end to end on a small planted world: a base that has learnt its biases, training on
# counter-stereotype sentences, its five controls and its way there; mitigation that is planted, and damage that is.
source "$EVENHAND_SOURCE/tests/support/checks.sh"
cd "$work"
evenhand=$EVENHAND_BIN/evenhand
"$EVENHAND_BIN/evenhand-plant" world --sentences 32000 --strength 2 >/dev/null 2>&1

cat >base.yaml <<'YAML'
output: base
model: {architecture: bloom, config: {hidden_size: 64, n_layer: 2, n_head: 4}, tokenizer: world/tokenizer.json}
data: [{name: corpus, format: text, path: world/corpus.txt, use: train, task: lm, holdout: 0.005}]
train: {epochs: 1, batch: 64, micro_batches: 2, lr: 8.0e-3}
precision: fp32
YAML
cat >treated.yaml <<'YAML'
output: treated
model: {path: base/model}
data:
  - {name: pairs, format: crows-pairs, path: world/pairs.csv, use: train, task: preferred}
  - {name: tests, format: stereoset, path: world/stereoset.json}
  - {name: neutral, format: text, path: world/neutral.txt, use: control, holdout: 0.5}
train: {epochs: 3, batch: 20, micro_batches: 2, lr: 3.0e-4, keep_every: 20}
precision: fp32
evaluate:
  - {metric: stereoset, protocol: likelihood}
  - {metric: perplexity, data: neutral}
  - {metric: capability, protocol: kl, data: neutral}
  - {draws: 2, controls: [placebo, reversed, neutral, damage, repeat]}
report: {replicates: 1000}
YAML
run "$evenhand" run base.yaml -n 2
check "a base: $err" equal "$code" 0
run "$evenhand" run treated.yaml -n 2
check "a treatment with its controls: $err" equal "$code" 0

# --- What such a run can show, told before it ---
run "$evenhand" plan treated.yaml --set output=planned
check 'plan counts the controls' has "$out" 'controls: placebo, reversed, neutral, damage, repeat: 3 trainings more'
check 'and does not guess' has "$out" 'not tokenized yet: the number of items is not known'
run "$evenhand" run treated.yaml --set output=planned --step tokenize -n 2
run "$evenhand" plan treated.yaml --set output=planned
check '2.8 x 100 sqrt(0.1 / 864)' has "$out" "$(printf '%-28s %8d items: %5.1f pp' tests 864 3.01)"
check 'of a group' has "$out" "$(printf '%-28s %8d items: %5.1f pp' job 288 5.22)"
check 'what it means' has "$out" "above the margin: an effect of its size can't be shown with this n"
run "$evenhand" plan treated.yaml
check 'with scores before, clusters count' has "$out" 'of the scores before), margin 2 pp'

# --- What the controls are ---
figure() { # FOLDER PHASE FIGURE: its value over all groups
    awk -F, -v phase="$2" -v name="$3" '$3 == phase && $4 == "" && $5 == name && $7 == "all" && $8 == "" { print $10; exit }' \
        "$1/tables/figures.csv"
}
verdict() { grep -F "| all | $2 |" "$1/tables/verdict.md"; }
holds() { awk "BEGIN { exit !($1) }" || { echo "  not so: $1"; return 1; }; }
bits=perplexity/bits-per-byte margin=stereoset/margin
before=$(figure treated before $bits) after=$(figure treated after $bits) damaged=$(figure treated control-damage $bits)
check 'the treatment costs capability' holds "$after > 1.02 * $before"
check 'the damage costs as much' holds "($damaged - $after)^2 < (0.002 * $after)^2"
check 'and was found by trials' holds "$(wc -l <treated/control-damage/bisection.csv) > 8"
check 'the last of which, of four models, is the one' holds \
    "($(tail -4 treated/control-damage/bisection.csv | awk -F, '{ s += $3 } END { print s / 4 }') - $damaged)^2 < 1e-8"
check 'of two noises, with both signs' equal "$(cd treated && ls -d control-damage/model-*  | tr '\n' ' ')" \
    'control-damage/model-1a control-damage/model-1b control-damage/model-2a control-damage/model-2b '
check 'reversed training raises the bias' holds \
    "$(figure treated control-reversed $margin) > $(figure treated before $margin) + 0.05"
check 'random direction lowers it less than the treatment' holds \
    "$(figure treated control-placebo $margin) > $(figure treated after $margin) + 0.05"
check 'neutral text was learnt' holds "$(figure treated control-neutral $bits) < $before"
check 'by as many steps' equal "$(tail -1 treated/control-neutral/metrics.csv | cut -d, -f1)" \
    "$(tail -1 treated/metrics.csv | cut -d, -f1)"
check 'the base again gives the same bits' equal "$(figure treated control-repeat $margin)" "$(figure treated before $margin)"

# --- The verdict is final; which of the words for less bias it is, the noise's draw decides on so small a world ---
page=$(sed 's/<[^>]*>//g' treated/report.html)
check 'all checks of the instrument' equal "$(grep -c 'Instrument check, passed' <<<"$page")" 4
check 'less bias than an equally damaged model' holds \
    "$(figure treated after $margin) < $(figure treated control-damage $margin)"
check 'a verdict' has "$(verdict treated $margin)" "$margin"
check 'a final verdict' has_not "$(verdict treated $margin)" provisional

# --- The same damage on one rank, and after a kill ---
model=$(cat treated/control-damage/model-*/model.safetensors | sha256sum)
cp treated/control-damage/bisection.csv all.csv
rm -r treated/control-damage/model-*
head -7 all.csv >treated/control-damage/bisection.csv
run "$evenhand" run treated.yaml -n 1 --step damage
check 'made again, on one rank' equal "$code" 0
check 'the same bits' equal "$(cat treated/control-damage/model-*/model.safetensors | sha256sum)" "$model"
check 'by the same trials' cmp all.csv treated/control-damage/bisection.csv
check 'of which the known ones were not measured again' equal "$(grep -c 'noise of' <<<"$err")" $((($(wc -l <all.csv) - 1) / 4 - 1))
run "$evenhand" run treated.yaml -n 2
check 'nothing else is out of date' equal "$(grep -c 'up to date' <<<"$err")" 18

# --- The way there ---
check 'the models on the way are measured' equal "$(tail -n +2 treated/steps.csv | tr '\n' ' ')" \
    "$(for step in $(seq 20 20 $(($(tail -1 treated/metrics.csv | cut -d, -f1) - 1))); do printf '%d,scores-step-%d.h5 ' $step $step; done)"
check 'and stand in a table' equal "$(tail -n +2 treated/tables/trajectory.csv | wc -l)" $(($(wc -l <treated/steps.csv) + 1))
way() { awk -F, -v column="$1" 'NR > 1 { print $column }' treated/tables/trajectory.csv; }
check 'the base diverges from itself by nothing' holds "$(way 14 | head -1)^2 < 1e-12"
check 'the others the more, the longer' holds "$(way 14 | head -2 | tail -1) > 0 && $(way 14 | tail -1) > $(way 14 | head -2 | tail -1)"
check 'with a front' holds "$(way 19 | grep -c yes) >= 1"
check 'which the page shows' has "$page" 'The way there'

# --- What it cost ---
cost() { grep "^[^,]*,$1,${2:-}" treated/tables/costs.csv; }
check 'trained weights' has "$(cost 'finetune' '')" ' of '
check 'the controls cost too' has "$(cost 'finetune of control placebo' '')" ' of '
check 'memory and time were foretold' equal "$(cost finetune | awk -F, '{ print ($5 > 0) + ($6 > 0) + ($7 > 0) + ($8 > 0) }')" 4

# --- Mitigation that is planted: counter-stereotype sentences among general text, so that little else is lost ---
awk 'NR % 2' world/neutral.txt >seen.txt
awk 'NR % 2 == 0' world/neutral.txt >unseen.txt
cat >real.yaml <<'YAML'
output: real
model: {path: base/model}
data:
  - {name: pairs, format: crows-pairs, path: world/pairs.csv, use: train, task: preferred}
  - {name: general, format: text, path: seen.txt, use: train, task: lm, replay: 0.1}
  - {name: tests, format: stereoset, path: world/stereoset.json}
  - {name: neutral, format: text, path: unseen.txt, use: evaluate, task: none}
train: {epochs: 3, batch: 20, micro_batches: 2, lr: 1.0e-3}
precision: fp32
evaluate:
  - {metric: stereoset, protocol: likelihood}
  - {metric: perplexity, data: neutral}
  - {controls: [reversed, damage, repeat]}
report: {replicates: 1000}
YAML
for seed in 1 2; do
    run "$evenhand" run real.yaml -n 2 --set seed=$seed --set output=real-$seed
    check "planted mitigation, seed $seed: $err" equal "$code" 0
    found=$(verdict real-$seed $margin)
    check "is called so, seed $seed: $found" grep -qE '\| (effective|trade-off): bias fell by more than damage explains' <<<"$found"
done

# --- Damage that is planted: sentences whose words are shuffled say nothing of anyone ---
awk 'BEGIN { srand(3) } { n = split($0, w, " "); for (i = n; i > 1; i--) { j = int(rand() * i) + 1; t = w[i]; w[i] = w[j]; w[j] = t }
    s = w[1]; for (i = 2; i <= n; i++) s = s " " w[i]; print s }' <(head -2000 world/corpus.txt) >shuffled.txt
sed -e '/name: pairs/d' -e 's#name: general, .*}#name: shuffled, format: text, path: shuffled.txt, use: train, task: lm}#' \
    -e 's/epochs: 3/epochs: 1/' -e 's/controls: .*/controls: [damage, repeat]}/' real.yaml >harm.yaml
for seed in 1 2; do
    run "$evenhand" run harm.yaml -n 2 --set seed=$seed --set output=harm-$seed
    check "planted damage, seed $seed: $err" equal "$code" 0
    found=$(verdict harm-$seed $margin)
    check "is called so, seed $seed: $found" has "$found" 'damage only: an equally damaged model loses as much bias'
done

# --- Noise as a treatment: whatever a draw does to the bias, it is not called mitigation ---
sed -e 's/^output: .*/output: damaged/' -e 's/use: train, task: preferred/use: both, task: preferred/' \
    -e '/protocol: kl/d' -e 's/, keep_every: 20//' -e 's/controls: .*/controls: [damage]}/' treated.yaml >damaged.yaml
run "$evenhand" run damaged.yaml -n 2 --step tokenize,evaluate-before
for seed in 7 8; do
    rm -rf damaged/model
    "$EVENHAND_TESTS/stages_tool_noise" base/model 0.3 $seed damaged/model
    run "$evenhand" run damaged.yaml -n 2 --step evaluate-after,damage,evaluate-damage,report
    check "noise as a treatment: $err" equal "$code" 0
    check "is no mitigation: $(verdict damaged $margin)" [ "$(verdict damaged $margin | grep -cE 'effective:|trade-off:')" = 0 ]
done

# --- Refusals ---
rm -r damaged/model damaged/scores-after.h5 && cp -r base/model damaged/model
run "$evenhand" run damaged.yaml -n 1 --step evaluate-after
check 'the base under the name of the treated model: exit code' equal "$code" 2
check 'and why' has "$err" 'is, weight for weight, the one in damaged/scores-before.h5'
run mpirun --allow-run-as-root --oversubscribe --bind-to none -q -n 2 "$EVENHAND_BIN/evenhand-damage" damaged.yaml
check 'damage without scores: exit code' equal "$code" 2
check 'what to do' has "$err" "the capability of phase 'after' (run evenhand-evaluate first)"
run "$EVENHAND_BIN/evenhand-finetune" treated.yaml --set output=none --control neutral
check 'neutral before the treatment: exit code' equal "$code" 2
check 'neutral before the treatment: why' has "$err" 'run evenhand-tokenize without --control first'
run "$EVENHAND_BIN/evenhand-finetune" treated.yaml --control damage
check 'a control that is not trained' has "$err" 'the controls that are trained are placebo, reversed and neutral'
finish
