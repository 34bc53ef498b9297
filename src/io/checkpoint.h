// A checkpoint: named fp32 tensors and notes in one safetensors file (other programs can read it), written by all ranks
// at once and only ever seen complete. Every MiB of data has a CRC-32, the header with them a SHA-256; both are checked
// before anything is used.
#ifndef EH_IO_CHECKPOINT_H
#define EH_IO_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/comm.h"
#include "core/status.h"

typedef struct {
    char *name; // "weights/transformer.h.0.input_layernorm.weight"; owned where the struct is
    int dimension_count;
    int64_t shape[4];
    int64_t count; // product of the shape
} eh_checkpoint_tensor;

typedef struct {
    const char *name, *value;
} eh_checkpoint_note;

// Elements [first, first + count) of a tensor, in memory.
typedef struct {
    int64_t tensor, first, count;
    float *values; // read from when writing, written to when reading
    bool in_file;  // memory of eh_map_file: it is let go once written or read
} eh_checkpoint_piece;

// Writes PATH.part and renames it. tensors and notes are the same on all ranks; the ranks' pieces together cover every
// element once. On failure nothing of it is left and older files are as they were. Collective, all get the same status.
EH_CHECKED eh_status eh_checkpoint_write(eh_comm *comm, const char *path, const eh_checkpoint_tensor *tensors,
                                         int64_t tensor_count, const eh_checkpoint_note *notes, int64_t note_count,
                                         const eh_checkpoint_piece *pieces, int64_t piece_count);

// The same in two halves, between which the ranks may do other things: the pieces are written by a thread, tensors,
// notes and pieces stay as they are until the end. The end is collective too, and has the status of all.
typedef struct eh_checkpoint_writing eh_checkpoint_writing;
EH_CHECKED eh_status eh_checkpoint_begin(eh_comm *comm, const char *path, const eh_checkpoint_tensor *tensors,
                                         int64_t tensor_count, const eh_checkpoint_note *notes, int64_t note_count,
                                         const eh_checkpoint_piece *pieces, int64_t piece_count,
                                         eh_checkpoint_writing **writing);
bool eh_checkpoint_is_written(eh_checkpoint_writing *writing); // this rank's pieces; not collective
EH_CHECKED eh_status eh_checkpoint_end(eh_checkpoint_writing **writing);
// Waits for the thread and leaves nothing behind. Not collective.
void eh_checkpoint_abandon(eh_checkpoint_writing **writing);

typedef struct eh_checkpoint eh_checkpoint;
// Opens and verifies, the ranks a share of the file each: EH_INPUT says what is torn or damaged. Collective.
EH_CHECKED eh_status eh_checkpoint_open(eh_comm *comm, const char *path, eh_checkpoint **checkpoint);
void eh_checkpoint_close(eh_checkpoint **checkpoint);
const char *eh_checkpoint_note_of(const eh_checkpoint *checkpoint, const char *name); // NULL if there is none
int64_t eh_checkpoint_find(const eh_checkpoint *checkpoint, const char *tensor);      // its number or -1
int64_t eh_checkpoint_count(const eh_checkpoint *checkpoint, int64_t tensor);         // elements
EH_CHECKED eh_status eh_checkpoint_read(const eh_checkpoint *checkpoint, const eh_checkpoint_piece *piece);

#endif
