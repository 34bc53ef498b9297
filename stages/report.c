// evenhand-report: scores -> tables, plots, one page, a verdict.
#include "report/report.h"
#include "io/atomic.h"
#include "stage.h"

int main(int argc, char **argv)
{
    eh_stage stage;
    eh_status status = eh_stage_begin(&stage, "report", argc, argv);
    // One rank is enough: the bootstrap uses its threads.
    if (status == EH_OK && eh_comm_rank(stage.comm) == 0)
        status = eh_report_make(&stage.job, &stage.log);
    return eh_stage_end(&stage, status);
}
