"""ε of DP-SGD by Rényi accounting, for choosing the story's noise.

Sound upper bound for the Poisson-subsampled Gaussian under add/remove adjacency:
Rényi divergence of order α from Mironov, Talwar, Zhang 2019 (arXiv:1908.10530), section 3.3, where
A_α = E_{z ~ N(0, σ²)} [((1 - q) + q exp((2z - 1) / 2σ²))^α] bounds both directions; conversion to
(ε, δ) by Canonne, Kamath, Steinke 2020 (arXiv:2004.00010), proposition 12.
"""

import numpy as np

ORDERS = np.concatenate([np.arange(1.1, 10, 0.1), np.arange(10, 64, 2)])


def renyi(q, sigma, order):
    """Divergence of one step; the integrand is smooth and decays, so the trapezoid rule is exact to rounding."""
    z = np.arange(-14 * sigma, order + 1 + 14 * sigma, sigma / 32)
    density = -(z**2) / (2 * sigma**2) - np.log(sigma * np.sqrt(2 * np.pi))
    ratio = np.logaddexp(np.log1p(-q), np.log(q) + (2 * z - 1) / (2 * sigma**2))
    exponent = density + order * ratio
    top = exponent.max()
    return (top + np.log(np.exp(exponent - top).sum() * (z[1] - z[0]))) / (order - 1)


def epsilon(q, sigma, steps, delta):
    best = np.inf
    for order in ORDERS:
        spent = steps * renyi(q, sigma, order)
        bound = spent + np.log1p(-1 / order) - np.log(delta * order) / (order - 1)
        best = min(best, bound)
    return max(0.0, float(best))


def calibrate(target, q, steps, delta):
    """Smallest σ, to 0.001, whose ε is at most the target."""
    low, high = 0.3, 50.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if epsilon(q, middle, steps, delta) <= target else (middle, high)
    return round(high + 5e-4, 3)
