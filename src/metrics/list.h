// The metrics there are: one line each. The first of a name is what `metric: NAME` means without a protocol.
#ifndef EH_METRICS_LIST_H
#define EH_METRICS_LIST_H

// clang-format off
#define EH_METRIC_LIST(X)            \
    X(eh_metric_stereoset_likelihood) \
    X(eh_metric_stereoset_prompt)     \
    X(eh_metric_stereoset_study)      \
    X(eh_metric_crows)               \
    X(eh_metric_perplexity)           \
    X(eh_metric_toxicity)             \
    X(eh_metric_toxicity_control)     \
    X(eh_metric_regard)               \
    X(eh_metric_honest)               \
    X(eh_metric_multiple_choice)      \
    X(eh_metric_kl)                   \
    X(eh_metric_instructions)         \
    X(eh_metric_degeneration)
// clang-format on

#endif
