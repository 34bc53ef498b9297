// Two ranks are a node: with 3 ranks the nodes are unequal, with 4 both ways of exchange work together.
#include "reducer_cases.h"

int main(int argc, char **argv)
{
    setenv("EVENHAND_NODE_RANKS", "2", 1);
    return run_reducer_cases(argc, argv);
}
