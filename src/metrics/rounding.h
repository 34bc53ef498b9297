// Rounding as Python's round(x, decimals): to the nearest decimal of the binary value, exact ties to even.
#ifndef EH_METRICS_ROUNDING_H
#define EH_METRICS_ROUNDING_H

// decimals 0..6; x finite or not (then returned as it is).
double eh_round_decimals(double x, int decimals);

#endif
