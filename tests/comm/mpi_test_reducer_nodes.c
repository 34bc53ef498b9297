// Every rank counts as a node: partial sums travel as messages.
#include "reducer_cases.h"

int main(int argc, char **argv)
{
    setenv("EVENHAND_NODE_RANKS", "1", 1);
    return run_reducer_cases(argc, argv);
}
