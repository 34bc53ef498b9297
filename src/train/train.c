#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/signals.h"
#include "core/string.h"
#include "io/atomic.h"
#include "train/metrics_file.h"
#include "train/resume.h"

typedef struct {
    const eh_training *training;
    eh_trainer trainer;
    eh_training_state state;
    eh_string checkpoints; // their folder
    char key[128];         // the training's, from rank 0
    eh_metrics_file *metrics;
    eh_progress progress;
    int64_t first_step;
    double began, processor_began, last_checkpoint, loss_average;
    eh_training_saving *saving; // a checkpoint that is being written
} training_run;

// Inside a step a rank that fails is alone with it: the others wait for its gradient.
static eh_status or_abort(const training_run *run, eh_status status)
{
    if (status != EH_OK && eh_comm_size(run->training->comm) > 1)
        eh_comm_abort(run->training->comm, status);
    return status;
}

static eh_status save(training_run *run, bool beside)
{
    eh_training_state state = run->state;
    state.seconds += eh_seconds() - run->began;
    run->last_checkpoint = eh_seconds();
    EH_TRY(eh_training_save_end(&run->saving));
    return eh_training_save_begin(&run->trainer, run->checkpoints.bytes, run->key, &state, beside, run->training->log,
                                  &run->saving);
}

// A checkpoint begins when rank 0's clock says so, and ends when all ranks have written their parts of it.
static eh_status tend_checkpoint(training_run *run, bool stop)
{
    const double minutes = run->training->job->checkpoint_minutes;
    if (minutes > 0) {
        const bool is_due = eh_comm_rank(run->training->comm) == 0 &&
                            run->state.step < run->trainer.batches.step_count &&
                            eh_seconds() - run->last_checkpoint > 60 * minutes;
        int64_t due_and_unwritten[2] = {is_due, run->saving != NULL && !eh_training_is_saved(run->saving)};
        EH_TRY(eh_comm_max_i64(run->training->comm, due_and_unwritten, 2));
        if (!due_and_unwritten[1])
            EH_TRY(eh_training_save_end(&run->saving));
        if (due_and_unwritten[0] && !stop) // a stop saves in any case
            EH_TRY(save(run, true));
    }
    if (!stop)
        return EH_OK;
    return save(run, false);
}

static eh_status stopped_by_divergence(training_run *run, const eh_step_outcome *outcome)
{
    char *newest = NULL;
    EH_TRY(eh_training_save_end(&run->saving)); // all ranks come here
    EH_TRY(eh_training_newest(run->checkpoints.bytes, &newest));
    const eh_status status = eh_error(
        EH_INPUT,
        "step %lld: the loss is %g and the gradient's norm %g: training diverged; the last good checkpoint is %s; "
        "lower train.lr or train.clip",
        (long long)run->state.step + 1, outcome->loss, outcome->gradient_norm, newest[0] ? newest : "none");
    eh_free(&newest);
    return status;
}

static void watch_for_spikes(training_run *run, double loss)
{
    if (run->loss_average > 0 && loss > 2 * run->loss_average)
        eh_log_warning(run->training->log, "step %lld: the loss jumped to %.3f from about %.3f",
                       (long long)run->state.step, loss, run->loss_average);
    run->loss_average = run->loss_average > 0 ? 0.9 * run->loss_average + 0.1 * loss : loss;
}

static bool holdout_is_due(const training_run *run)
{
    const eh_batches *batches = &run->trainer.batches;
    const int64_t every = run->training->job->train.evaluate_every;
    return run->state.step == batches->step_count ||
           run->state.step % (every > 0 ? every : batches->steps_per_epoch) == 0;
}

// Measures on held-out data, and keeps the weights if they are the best so far and that is what is asked for.
static eh_status measure_holdout(training_run *run, eh_metrics_row *row)
{
    const eh_training *training = run->training;
    const eh_job *job = training->job;
    EH_TRY(or_abort(run, eh_trainer_holdout(&run->trainer, &row->holdout_loss, &row->general_loss)));
    if (isnan(row->holdout_loss) && isnan(row->general_loss))
        return EH_OK;
    const bool best =
        eh_selection_take(&run->state.selection, job, run->state.step, row->holdout_loss, row->general_loss);
    if (!best && job->switches.select == EH_SELECT_TASK_AND_CAPABILITY)
        eh_log_line(training->log, "step %lld: held-out loss %.4f, on general text %.4f (%.4f at the start): not kept",
                    (long long)run->state.step, row->holdout_loss, row->general_loss,
                    run->state.selection.start_general);
    return best && job->switches.select != EH_SELECT_LAST && training->keep ? training->keep(training->keep_context, 0)
                                                                            : EH_OK;
}

static void show(training_run *run, const eh_step_outcome *outcome, eh_metrics_row *row, double seconds)
{
    row->step = run->state.step;
    row->epoch = (double)run->state.step / (double)run->trainer.batches.steps_per_epoch;
    row->loss = outcome->loss;
    row->gradient_norm = outcome->gradient_norm;
    row->learning_rate = outcome->learning_rate;
    row->tokens_per_second = (double)outcome->token_count / seconds;
    row->seconds = run->state.seconds + eh_seconds() - run->began;
    row->divergence = outcome->divergence;
    row->loss_scale = run->trainer.loss_scale.on ? run->trainer.loss_scale.scale : NAN;
    eh_metrics_file_add(run->metrics, row);
    char note[96];
    snprintf(note, sizeof note, "loss %.4f, %.0f tokens/s", outcome->loss, row->tokens_per_second);
    eh_progress_show(&run->progress, run->state.step - run->first_step, note);
}

// The starting weights are the first that can be chosen.
static eh_status measure_start(training_run *run)
{
    const eh_job *job = run->training->job;
    if (run->state.step > 0 || (job->switches.select == EH_SELECT_LAST && job->train.patience == 0))
        return EH_OK;
    eh_metrics_row row = {.loss = NAN,
                          .gradient_norm = NAN,
                          .learning_rate = NAN,
                          .tokens_per_second = NAN,
                          .seconds = 0,
                          .loss_scale = NAN,
                          .divergence = NAN};
    EH_TRY(measure_holdout(run, &row));
    if (job->switches.select == EH_SELECT_TASK_AND_CAPABILITY && (isnan(row.holdout_loss) || isnan(row.general_loss)))
        return eh_error(EH_INPUT,
                        "switches.select: task-and-capability needs held-out examples of the task and of general text: "
                        "data sets with holdout above 0, one without and one with replay above 0");
    if (!isnan(row.holdout_loss))
        eh_metrics_file_add(run->metrics, &row);
    return EH_OK;
}

// The last step's model is the result, kept anyway.
static eh_status keep_on_the_way(training_run *run)
{
    const eh_training *training = run->training;
    const int64_t every = training->job->train.keep_every, step = run->state.step;
    if (every == 0 || step % every != 0 || step == run->trainer.batches.step_count || training->keep == NULL)
        return EH_OK;
    return training->keep(training->keep_context, step);
}

static eh_status one_step(training_run *run, bool *stop)
{
    const double began = eh_seconds();
    eh_step_outcome outcome;
    eh_batches_plan(&run->trainer.batches, run->state.step);
    EH_TRY(or_abort(run, eh_trainer_gradients(&run->trainer, eh_signals_stop_asked(), &outcome)));
    const bool finite = isfinite(outcome.loss) && isfinite(outcome.gradient_norm); // alike on all ranks
    if (!eh_loss_scale_take(&run->trainer.loss_scale, finite))
        return stopped_by_divergence(run, &outcome);
    if (finite)
        EH_TRY(or_abort(run, eh_trainer_update(&run->trainer, &outcome)));
    else
        eh_log_warning(run->training->log, "step %lld is skipped: it overflowed fp16; the loss scale is now %g",
                       (long long)run->state.step + 1, run->trainer.loss_scale.scale);
    run->state.step++;
    run->state.tokens += (double)outcome.token_count;
    if (finite)
        watch_for_spikes(run, outcome.loss);
    eh_metrics_row row = {.holdout_loss = NAN, .general_loss = NAN};
    const double seconds = eh_seconds() - began;
    if (holdout_is_due(run))
        EH_TRY(measure_holdout(run, &row));
    show(run, &outcome, &row, seconds);
    EH_TRY(keep_on_the_way(run));
    *stop = outcome.asked;
    return tend_checkpoint(run, *stop);
}

static const char *place_of_moments(const eh_optimizer *optimizer)
{
    return eh_tensor_in_file(&optimizer->m) ? "on disk"
           : optimizer->host != NULL        ? "in the host's memory"
                                            : "in the device's memory";
}

// FOLDER/training.csv: how much of the model learns, for the report.
static eh_status record_size(const training_run *run)
{
    const eh_training *training = run->training;
    eh_string path = {0}, text = {0};
    eh_status status = EH_OK;
    int64_t weights = 0;
    for (int64_t p = 0; p < eh_model_parameter_count(training->model); p++)
        weights += eh_model_parameters(training->model)[p].count;
    EH_TRY_OR(done, eh_string_printf(&path, "%s/training.csv", training->folder));
    EH_TRY_OR(done, eh_string_printf(&text, "trained,weights\n%lld,%lld\n",
                                     (long long)eh_trainer_trained_count(&run->trainer), (long long)weights));
    EH_TRY_OR(done, eh_atomic_write(path.bytes, text.bytes, text.size));
done:
    eh_string_deinit(&path);
    eh_string_deinit(&text);
    return status;
}

static eh_status begin(training_run *run)
{
    const eh_training *training = run->training;
    snprintf(run->key, sizeof run->key, "%s", training->key != NULL ? training->key : "");
    EH_TRY(eh_trainer_init(training->comm, training->backend, training->model, training->job, training->set,
                           &run->trainer));
    if (training->start != NULL)
        EH_TRY(eh_comm_agree(training->comm, eh_trainer_stay_near(&run->trainer, training->start)));
    if (training->job->train.l2 > 0) // before a checkpoint is read: these are the starting weights
        EH_TRY(eh_trainer_stay_put(&run->trainer));
    EH_TRY(eh_comm_agree(training->comm, eh_string_printf(&run->checkpoints, "%s/checkpoints", training->folder)));
    bool resumed;
    EH_TRY(eh_training_resume(&run->trainer, run->checkpoints.bytes, run->key, &run->state, &resumed, training->log));
    run->first_step = run->state.step;
    EH_TRY(eh_comm_agree(training->comm, eh_comm_rank(training->comm) == 0
                                             ? eh_metrics_file_open(training->folder, run->state.step, &run->metrics)
                                             : EH_OK));
    const eh_batches *batches = &run->trainer.batches;
    eh_log_line(training->log, "%lld steps of %lld examples in %lld micro-batches, %lld trained weights",
                (long long)batches->step_count, (long long)batches->batch, (long long)batches->micro_count,
                (long long)eh_trainer_trained_count(&run->trainer));
    if (batches->micro_count % eh_comm_size(training->comm) != 0)
        eh_log_warning(training->log,
                       "train.micro_batches: %lld can't be shared out evenly over %d ranks: some wait for the others",
                       (long long)batches->micro_count, eh_comm_size(training->comm));
    EH_TRY(eh_comm_agree(training->comm, eh_comm_rank(training->comm) == 0 ? record_size(run) : EH_OK));
    eh_log_line(training->log, "AdamW's moments: %.1f MiB on rank 0, %s",
                8 * (double)run->trainer.optimizer.state_count / 1048576, place_of_moments(&run->trainer.optimizer));
    run->progress = eh_progress_begin(training->log, "train", "steps", batches->step_count - run->first_step);
    run->began = run->last_checkpoint = eh_seconds();
    run->processor_began = eh_processor_seconds();
    return measure_start(run);
}

// Greatest resident size so far of the rank that has most; what the steps took of all ranks' processors.
static eh_status show_use(const training_run *run)
{
    const eh_training *training = run->training;
    double processor_seconds = eh_processor_seconds() - run->processor_began;
    EH_TRY(eh_comm_sum_double(training->comm, &processor_seconds, 1));
    int64_t most = (int64_t)eh_peak_resident_bytes(), sum = most;
    EH_TRY(eh_comm_max_i64(training->comm, &most, 1));
    EH_TRY(eh_comm_sum_i64(training->comm, &sum, 1));
    eh_log_line(training->log, "processors: %.2f s on all ranks", processor_seconds);
    eh_log_line(training->log, "peak memory: %.1f MiB on the fullest rank, %.1f MiB on average", (double)most / 1048576,
                (double)sum / 1048576 / eh_comm_size(training->comm));
    return EH_OK;
}

static eh_status finish(training_run *run)
{
    const eh_training *training = run->training;
    const eh_selection *selection = &run->state.selection;
    char note[64];
    snprintf(note, sizeof note, "%.0f tokens/s",
             run->state.tokens / (run->state.seconds + eh_seconds() - run->began + 1e-9));
    eh_progress_end(&run->progress, run->state.step - run->first_step, note);
    EH_TRY(show_use(run));
    if (run->state.step < run->trainer.batches.step_count)
        eh_log_line(training->log, "ended after step %lld: %lld held-out losses without a better one",
                    (long long)run->state.step, (long long)selection->stale_count);
    if (run->state.step > run->first_step)
        EH_TRY(save(run, false));
    if (training->job->switches.select == EH_SELECT_LAST || isnan(selection->best_loss))
        return training->keep ? training->keep(training->keep_context, 0) : EH_OK;
    eh_log_line(training->log, "the weights of step %lld are kept, with a held-out loss of %.4f",
                (long long)selection->best_step, selection->best_loss);
    return EH_OK;
}

eh_status eh_train(const eh_training *training)
{
    training_run run = {.training = training};
    eh_status status = begin(&run);
    bool stop = false;
    while (status == EH_OK && !stop && run.state.step < run.trainer.batches.step_count &&
           !eh_selection_has_ended(&run.state.selection, training->job))
        status = one_step(&run, &stop);
    if (status == EH_OK && stop)
        status =
            eh_error(EH_STOPPED, "stopped on request after step %lld; a checkpoint was saved: run it again to go on",
                     (long long)run.state.step);
    if (status == EH_OK)
        status = finish(&run);
    eh_training_save_abandon(&run.saving);
    eh_metrics_file_close(&run.metrics);
    eh_string_deinit(&run.checkpoints);
    eh_trainer_deinit(&run.trainer);
    return status;
}
