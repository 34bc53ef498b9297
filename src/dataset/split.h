// Which pairs are held out: whole clusters, so that nothing of them can leak into the training, about the same share of
// every group, the same whatever the ranks and the order of the rows.
#ifndef EH_DATASET_SPLIT_H
#define EH_DATASET_SPLIT_H

#include <stdint.h>

#include "core/status.h"
#include "dataset/dataset.h"
#include "io/shard.h"
#include "job/job.h"

#define EH_NEAR_DUPLICATE 0.7 // Jaccard similarity of the words of two pairs

// splits[i] for every record (eh_free by the caller). Clusters: pairs of one writer, and pairs whose words are nearly
// the same, in either order of their sentences. EH_SPLIT_BY_ROW: the study's own rows,
// share x rows rounded up, as numpy draws them from the seed.
EH_CHECKED eh_status eh_split_records(const eh_data_format *format, const eh_records *records, double share,
                                      uint64_t seed, eh_split_unit unit, uint8_t **splits, int64_t *cluster_count);
// For documents that are read in pieces: by the hash of the text alone, so equal documents fall together.
eh_split eh_split_text(eh_text text, double share, uint64_t seed);

#endif
