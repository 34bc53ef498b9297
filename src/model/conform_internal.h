// What the checks of `conform` share: the expected file, and how a found value is held against it.
#ifndef EH_MODEL_CONFORM_INTERNAL_H
#define EH_MODEL_CONFORM_INTERNAL_H

#include <hdf5.h>

#include "model/conform.h"
#include "model/model_internal.h"

// A dataset of any shape, read whole.
typedef struct {
    int dimension_count;
    int64_t shape[5], count;
    float *floats;         // of float datasets
    int32_t *ints;         // of the others
    double noise, noise99; // attributes, 0 where there are none
} eh_expected;
void eh_expected_deinit(eh_expected *expected);

// A ragged list: row i is values.ints[offsets[i] .. offsets[i + 1]).
typedef struct {
    eh_expected values;
    int64_t *offsets, row_count;
} eh_expected_rows;
void eh_expected_rows_deinit(eh_expected_rows *rows);

typedef struct {
    const char *name, *folder; // of the model
    eh_backend *backend;
    hid_t file;
    FILE *out;
    eh_conform_result *result;
} eh_conform;

bool eh_expected_exists(const eh_conform *conform, const char *path);
EH_CHECKED eh_status eh_expected_read(const eh_conform *conform, const char *path, eh_expected *expected);
EH_CHECKED eh_status eh_expected_read_rows(const eh_conform *conform, const char *path, eh_expected_rows *rows);
EH_CHECKED eh_status eh_expected_attribute(const eh_conform *conform, const char *path, const char *name,
                                           double *value);

// The worst ratio of error to bound so far: all within 8 noise + 1e-6, 99 % within 8 noise99 + 1e-7 (the oracle's own).
typedef struct {
    double worst;
    int64_t compared;
} eh_ratio;
EH_CHECKED eh_status eh_ratio_add(eh_ratio *ratio, const float *found, const float *expected, int64_t count,
                                  double noise, double noise99);
// One line, and the count. A check that compared nothing fails.
void eh_conform_report(const eh_conform *conform, const char *check, const eh_ratio *ratio);
// A check that is true or false, with what was found.
void eh_conform_report_exact(const eh_conform *conform, const char *check, int64_t wrong, int64_t compared);
void eh_conform_report_error(const eh_conform *conform, const char *check); // the stored message

// The rows of `x` [rows, width] where mask is not 0 (NULL: all), packed: ids and offsets are the caller's to free.
EH_CHECKED eh_status eh_conform_pack(const int32_t *x, const int32_t *mask, int64_t rows, int64_t width, int32_t **ids,
                                     int64_t **offsets);

// A batch of the file, packed, with every position of the output side labelled.
typedef struct {
    eh_expected ids, mask, types, decoder_ids, decoder_mask;
    int32_t *packed, *decoder_packed, *rows;
    int64_t *offsets, *decoder_offsets;
    int32_t *packed_types;
    uint8_t *bytes; // the types
    eh_batch batch;
} eh_conform_batch;
// A group of forward/: memory is reserved for it too.
EH_CHECKED eh_status eh_conform_batch_read(eh_conform *conform, eh_model *model, const char *group,
                                           eh_conform_batch *own);
void eh_conform_batch_deinit(eh_conform_batch *own);

EH_CHECKED eh_status eh_conform_forward(eh_conform *conform, eh_model *model);
EH_CHECKED eh_status eh_conform_hidden(eh_conform *conform);
EH_CHECKED eh_status eh_conform_scores(eh_conform *conform, eh_model *model);
EH_CHECKED eh_status eh_conform_train(eh_conform *conform);
EH_CHECKED eh_status eh_conform_generate(eh_conform *conform, eh_model *model);
EH_CHECKED eh_status eh_conform_text(eh_conform *conform);

#endif
