#include "reducer_cases.h"

int main(int argc, char **argv)
{
    return run_reducer_cases(argc, argv);
}
