// The model that a job starts from: a Hugging Face folder, or an architecture with random weights.
#ifndef EH_STAGES_STAGE_MODEL_H
#define EH_STAGES_STAGE_MODEL_H

#include "model/model.h"
#include "stage.h"
#include "text/tokenizer.h"

// Opens model.path, or makes model.architecture with model.config: model_type and vocab_size (of model.tokenizer) are
// filled in where the config lacks them. Needs eh_stage_backend first. Collective; all ranks get the same status.
EH_CHECKED eh_status eh_stage_starting_model(eh_stage *stage, eh_dtype compute, eh_model_use use, eh_model **model);
// Says what opening the model in `folder` (NULL: none) found strange but bearable, such as weights that are NaN.
void eh_stage_warn_of_model(const eh_stage *stage, const char *folder, const eh_model *model);
// What of it learns, from train.*; NULL: all. Texts are the job's. *adaptation is room for the answer.
const eh_adaptation *eh_stage_adaptation(const eh_job *job, eh_adaptation *adaptation);
// The config.json text of model.architecture and model.config, completed in that way; eh_free. A plan may lack the
// tokenizer where the config says how many words there are.
EH_CHECKED eh_status eh_starting_config(const eh_job *job, bool may_lack_tokenizer, char **text);
// Where the model of a phase is that this job has made: OUTPUT/model (after), OUTPUT/control-damage/model-1a
// (control-damage-1a, see eh_damage_phase), else OUTPUT/PHASE/model; eh_free. Not collective.
EH_CHECKED eh_status eh_stage_phase_model(const eh_stage *stage, const char *phase, char **folder);
// Folder of the starting model's tokenizer files (eh_free), NULL if the job names none. Not collective.
EH_CHECKED eh_status eh_stage_tokenizer_folder(const eh_stage *stage, char **folder);
// The same from the job alone.
EH_CHECKED eh_status eh_job_tokenizer_folder(const eh_job *job, char **folder);
// Opens the tokenizer of a folder; EH_INPUT where there is none. Not collective.
EH_CHECKED eh_status eh_stage_open_tokenizer(const eh_stage *stage, const char *folder, eh_tokenizer **tokenizer);
// The mask token's id, which published config.json files leave out, from the starting model's tokenizer; stays as it is
// where that names none. Not collective.
EH_CHECKED eh_status eh_stage_find_mask(const eh_stage *stage, eh_special_ids *special);

#endif
