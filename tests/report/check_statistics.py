"""Recomputes what test_oracle_statistics.c wrote with SciPy and statsmodels; exits 1 if anything differs."""
import sys
from collections import Counter

import numpy as np

try:
    from scipy import stats
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.proportion import proportion_confint
except ImportError as error:
    print(f"SKIPPED TEST: {error}")
    sys.exit(0)


def mcnemar_table(b, c):
    exact = mcnemar([[0, b], [c, 0]], exact=True).pvalue if b + c else 1.0
    if b == c:
        mid = 1 - 0.5 * stats.binom.pmf(b, 2 * b, 0.5) if b else 1.0
    else:
        mid = 2 * stats.binom.cdf(min(b, c), b + c, 0.5) - stats.binom.pmf(min(b, c), b + c, 0.5)
    return [exact, mid]


def equivalence(effect, error, df, margin):
    t = max(stats.t.sf((effect + margin) / error, df), stats.t.cdf((effect - margin) / error, df))
    z = max(stats.norm.sf((effect + margin) / error), stats.norm.cdf((effect - margin) / error))
    return [t, z]


def sign_flip(values, draws):
    result = stats.permutation_test((values,), lambda x, axis: np.mean(x, axis=axis), permutation_type="samples",
                                    vectorized=True, n_resamples=draws, rng=np.random.default_rng(1))
    return [result.pvalue]


def bootstrap(values):
    found = []
    for method in "BCa", "percentile":
        interval = stats.bootstrap((values,), np.mean, n_resamples=40000, method=method, batch=2000,
                                   rng=np.random.default_rng(7)).confidence_interval
        found += [interval.low, interval.high]
    # The two must differ by more than the bound below, or agreement would show nothing.
    assert abs(found[1] - found[3]) > 0.1 * stats.sem(values), found
    return found


def line(x, y):
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * fit.stderr
    return [fit.slope, fit.intercept, fit.rvalue**2, fit.stderr, fit.slope - half, fit.slope + half]


def seeds(y, variances):
    low, high = stats.t.interval(0.95, len(y) - 1, np.mean(y), stats.sem(y))
    return [np.mean(y), np.var(y, ddof=1), np.mean(variances), np.var(y, ddof=1) + np.mean(variances), low, high]


def expected(name, a):
    one = {key: value[0] for key, value in a.items()}
    if name == "normal_cdf":
        return [stats.norm.cdf(one["z"])]
    if name == "normal_quantile":
        return [stats.norm.ppf(one["p"])]
    if name == "student_cdf":
        return [stats.t.cdf(one["t"], one["df"])]
    if name == "student_quantile":
        return [stats.t.ppf(one["p"], one["df"])]
    if name == "wilson":
        return list(proportion_confint(one["hits"], one["count"], method="wilson"))
    if name == "mcnemar":
        return mcnemar_table(int(one["b"]), int(one["c"]))
    if name == "equivalence":
        return equivalence(one["effect"], one["error"], one["df"], one["margin"])
    if name.startswith("sign_flip"):
        return sign_flip(a["values"], np.inf if name == "sign_flip_exact" else 20000)
    if name == "families":
        assert np.allclose(multipletests(a["p"], method="holm")[1], a["holm"], rtol=1e-12, atol=0), a
        assert np.allclose(multipletests(a["p"], method="fdr_bh")[1], a["bh"], rtol=1e-12, atol=0), a
        return [0]
    if name == "bca":
        return bootstrap(a["values"])
    if name == "line":
        return line(a["x"], a["y"])
    if name == "seeds":
        return seeds(a["y"], a["variances"])
    raise ValueError(name)


counts, failed = Counter(), 0
for row in open(sys.argv[1]):
    left, right = row.split("|")
    name, *arguments = left.split()
    values = {key: np.array(value.split(","), dtype=float) for key, value in (part.split("=") for part in arguments)}
    found, wanted = np.array(right.split(), dtype=float), np.array(expected(name, values))
    # Random sign flips differ from SciPy's: five standard errors of 20,000 draws, twice.
    # Two bootstraps' ends differ by their draws: about 0.03 standard errors at 20,000.
    bounds = {"sign_flip_random": 5 * np.sqrt(2 * 0.25 / 20000), "bca": 0.1 * stats.sem(values.get("values", [0, 1]))}
    close = (np.allclose(found, wanted, rtol=0, atol=bounds[name]) if name in bounds
             else np.allclose(found, wanted, rtol=1e-9, atol=1e-13))
    counts[name] += 1
    if not close:
        failed += 1
        print(f"{left.strip()}: found {found}, expected {wanted}")
print(", ".join(f"{name} {count}" for name, count in counts.items()))
sys.exit(1 if failed or len(counts) < 13 else 0)
