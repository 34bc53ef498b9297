// Published StereoSet prediction files, scored: `evenhand conform --stereoset DEV.json PREDICTIONS.json...`.
#ifndef EH_METRICS_STEREOSET_PREDICTIONS_H
#define EH_METRICS_STEREOSET_PREDICTIONS_H

#include "core/status.h"
#include "core/string.h"
#include "io/scores.h"

// One row per item of the development set with the file's scores ("official_*"), in a table "stereoset/likelihood" that
// the caller deinits. EH_INPUT names the file and what is missing in it.
EH_CHECKED eh_status eh_stereoset_predictions(const char *dev_json, const char *predictions, eh_score_table *table);
// Appends to `text`, for every prediction file: LM, SS and ICAT of each task and domain by the official definition
// (macro) and by items (micro), then the study's choice metric with its rounding.
EH_CHECKED eh_status eh_stereoset_conform(const char *dev_json, const char *const *predictions, int64_t count,
                                          eh_string *text);

#endif
