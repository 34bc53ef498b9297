// evenhand-tokenize: data sets -> HDF5 shards in OUTPUT/shards, every rank a slice of the rows.
#include "core/memory.h"
#include "dataset/prepare.h"
#include "dataset/text_model.h"
#include "stage.h"

static eh_status tokenize_data_sets(eh_stage *stage)
{
    eh_text_model model = {0};
    char *folder = NULL;
    eh_status status = EH_OK;
    EH_TRY_OR(done, eh_comm_agree(stage->comm, eh_text_model_open(&stage->job.model, &model)));
    EH_TRY_OR(done, eh_comm_agree(stage->comm, eh_stage_path(stage, &folder, "shards")));
    const eh_prepare_settings settings = {
        .comm = stage->comm, .log = &stage->log, .job = &stage->job, .model = &model, .folder = folder};
    for (int64_t d = 0; d < stage->job.data_count; d++)
        if (eh_data_is_measured(&stage->job.data[d]) || stage->job.data[d].use != EH_USE_CONTROL)
            EH_TRY_OR(done, eh_prepare_data_set(&settings, &stage->job.data[d]));
done:
    eh_free(&folder);
    eh_text_model_close(&model);
    return status;
}

int main(int argc, char **argv)
{
    eh_stage stage;
    eh_status status = eh_stage_begin(&stage, "tokenize", argc, argv);
    if (status == EH_OK)
        status = tokenize_data_sets(&stage);
    return eh_stage_end(&stage, status);
}
