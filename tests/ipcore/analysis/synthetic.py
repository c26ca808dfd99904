"""Synthetic sizes by formula, with noise per width and seed."""

import numpy as np

from ipcore.analysis import Samples

WIDTHS = (128, 256, 512, 1024)


def samples(curve, noise=0.0, seeds=6, widths=WIDTHS, key=1):
    """curve(m) times exp(noise * a standard normal)."""
    normals = np.random.default_rng(key).standard_normal((len(widths), seeds))
    values = np.array([curve(m) for m in widths])[:, None] * np.exp(noise * normals)
    return Samples(tuple(widths), tuple(range(seeds)), values)


def power(exponent, factor=1.0):
    """m -> factor m^exponent."""
    return lambda m: factor * float(m) ** exponent


def two_powers(first, second, share):
    """m -> m^first + share m^second."""
    return lambda m: float(m) ** first + share * float(m) ** second
