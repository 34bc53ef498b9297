// Is it mitigation or damage? The verdict of PROTOCOL part 5, from intervals and margins alone.
#ifndef EH_REPORT_VERDICT_H
#define EH_REPORT_VERDICT_H

#include "core/sha256.h"
#include "job/job.h"
#include "report/checks.h"

typedef enum {
    EH_VERDICT_INCONCLUSIVE,
    EH_VERDICT_EFFECTIVE,
    EH_VERDICT_TRADE_OFF,
    EH_VERDICT_DAMAGE_ONLY,
    EH_VERDICT_NO_EFFECT,
    EH_VERDICT_BACKFIRES,
} eh_verdict;

const char *eh_verdict_name(eh_verdict verdict);

// What a verdict is made of; `has_...` false where it was not measured.
typedef struct {
    eh_estimate effect; // E = m(base) - m(treated), signed towards the stereotype
    bool has_excess, has_loss;
    eh_estimate excess; // X = m(damage) - m(treated); its intervals hold the scatter of a new draw of the noise
    eh_interval excess_on_average; // of X over all draws: with no more than the scatter of their mean
    eh_interval loss;              // C, relative loss of capability: 0.02 is 2 %
    double loss_value;
    bool has_accuracy_loss;
    eh_interval accuracy_loss; // percentage points of multiple choice
    double accuracy_margin;
    double margin;            // of the bias, in the figure's unit
    double capability_margin; // relative
    double detectable;        // change that this n shows in 4 of 5 runs, in the figure's unit; 0 or NaN: not known
} eh_evidence;

// Pure. *reason is a sentence without its full stop, static.
eh_verdict eh_verdict_of(const eh_evidence *evidence, const char **reason);

// One line of the verdict table.
typedef struct {
    const char *scope;
    const char *figure, *unit;
    bool turned; // the base is anti-stereotypical: the sign is turned
    eh_estimate base, treated;
    eh_evidence evidence;
    eh_verdict verdict;
    const char *reason;
    double p, p_holm; // of "no effect", and adjusted within the table (Holm)
} eh_verdict_row;

typedef struct {
    eh_verdict_row *rows; // the margin (nats), then SS, overall and by bias type; rows[0] is the headline
    int64_t row_count;
    eh_check checks[EH_CHECK_COUNT];
    bool instrument_is_sound; // no check failed and none is missing
    bool any_failed;
    char margins[256]; // as fixed in the job
    char margins_sha256[EH_SHA256_TEXT];
} eh_verdicts;

// `truth` may be NULL. Without before, after and a StereoSet table there are no rows.
EH_CHECKED eh_status eh_verdicts_make(const eh_job *job, const eh_results *results, const eh_truth *truth,
                                      eh_verdicts *verdicts);
void eh_verdicts_deinit(eh_verdicts *verdicts);

#endif
