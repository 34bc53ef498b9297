// What no single key can say: defaults that follow from other keys, and keys that need or exclude each other. For
// src/job/ only.
#ifndef EH_JOB_CHECK_H
#define EH_JOB_CHECK_H

#include "job/job.h"

EH_CHECKED eh_status eh_job_complete(eh_job *job);

#endif
