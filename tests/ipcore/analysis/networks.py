"""Networks in plain numpy, from the definition of abc-parameterizations, without the engine.

W^l = m^{-a_l} w^l, w^l ~ N(0, s^2 m^{-2 b_l}), w^l <- w^l - eta m^{-c_l} dloss/dw^l; ReLU, s^2 = 2, softmax.
"""

import numpy as np

from ipcore.analysis import Samples

INPUTS, OUTPUTS, BATCH, PROBED = 32, 4, 32, 32


def coordinates(p, widths, seeds, eta, steps):
    """Mean |h| at step 0 and mean |h_t - h_0| after, by (quantity, layer, step)."""
    values = {}
    for m in widths:
        for seed in range(seeds):
            for key, size in _sizes(p, m, seed, eta, steps):
                values.setdefault(key, {})[m, seed] = size
    return {key: Samples.of(by_run) for key, by_run in values.items()}


def _sizes(p, m, seed, eta, steps):
    normals, data = np.random.default_rng([seed, m]), np.random.default_rng([seed])
    dims = [INPUTS, *[m] * p.hidden_layers, OUTPUTS]
    scale = [np.sqrt(2 / INPUTS), *[np.sqrt(2)] * (p.hidden_layers - 1), 1.0]
    a, b = [[float(m) ** -float(e) for e in exponents] for exponents in (p.a, p.b)]
    w = [normals.standard_normal((dims[i + 1], dims[i])) * scale[i] * b[i] for i in range(len(a))]
    teacher = np.random.default_rng(7).standard_normal((INPUTS, OUTPUTS))
    probe = np.random.default_rng(8).standard_normal((PROBED, INPUTS))

    def forward(x):
        below, h = [x], []
        for i, matrix in enumerate(w):
            h.append(below[-1] @ (a[i] * matrix).T)
            below.append(np.maximum(h[-1], 0))
        return h, below

    initial, _ = forward(probe)
    yield from ((("h", i + 1, 0), np.abs(h).mean()) for i, h in enumerate(initial))
    for step in range(steps):
        x = data.standard_normal((BATCH, INPUTS))
        h, below = forward(x)
        dh = np.exp(h[-1] - h[-1].max(axis=1, keepdims=True))
        dh /= dh.sum(axis=1, keepdims=True)
        dh[np.arange(BATCH), (x @ teacher).argmax(axis=1)] -= 1
        for i in reversed(range(len(w))):
            gradient = a[i] * dh.T @ below[i] / BATCH
            dh = (dh @ (a[i] * w[i])) * (below[i] > 0)
            w[i] = w[i] - eta * float(m) ** -float(p.c_at(step)[i]) * gradient
        now, _ = forward(probe)
        changes = (np.abs(new - old).mean() for new, old in zip(now, initial, strict=True))
        yield from ((("h_change", i + 1, step + 1), size) for i, size in enumerate(changes))
