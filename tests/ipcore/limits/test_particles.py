"""Particles against plain PyTorch: from step 1 on they are a dense network of width N, to rounding."""

import pytest
import torch

from ipcore.catalogue import find_activation
from ipcore.engine.losses import LOSSES
from ipcore.limits.particles import Particles
from ipcore.limits.problem import Problem
from ipcore.models.activations import activation

B, D, C, T = 6, 5, 3, 9


def problem(L, N=24, phi="relu", *, momentum=0.0, revives=False, loss="cross_entropy", biased=True, seed=0):
    outputs = 1 if loss == "logistic" else C
    return Problem(
        hidden_layers=L,
        particles=N,
        input_dim=D,
        outputs=outputs,
        activation=activation(phi),
        variance=find_activation(phi).variance,
        biased=biased,
        loss=LOSSES[loss],
        batch_size=B,
        steps=T,
        momentum=momentum,
        carries=(True,) * (L + 1),
        revives=revives,
        seed=seed,
        dtype=torch.float64,
    )


def batches(seed=0, classes=C):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(T):
        x = torch.randn(B, D, generator=generator, dtype=torch.float64)
        yield x, torch.randint(classes, (B,), generator=generator)


class Plain:
    """A network of width N in muP, whose hidden matrices were removed after step 0, by autograd."""

    def __init__(self, system, phi, momentum, loss):
        p, state = system._problem, {k: v.clone() for k, v in system.state().items()}
        self.N, self.phi, self.beta, self.loss, self.biased = p.particles, phi, momentum, loss, p.biased
        self.tensors = [state["w"]]
        self.velocities = [state.get("w_velocity", torch.zeros_like(state["w"])) / B * self.N**-1.0]
        for layer in range(2, p.hidden_layers + 1):
            u, x, g = (state[f"{layer}/{name}"] for name in ("u", "x", "g"))
            self.tensors.append(-(u * g[:, None]).T @ x / self.N)
            self.velocities.append(u.T @ x / B / self.N)
        self.tensors.append(state["v"] / self.N)
        self.velocities.append(state.get("v_velocity", torch.zeros_like(state["v"])) / B)

    def outputs(self, x, tensors=None):
        tensors = tensors or self.tensors
        if self.biased:
            x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
        for weight in tensors[:-1]:
            x = self.phi(x @ weight.T)
        return x @ tensors[-1].T

    def update(self, x, y, rates, keep):
        leaves = [t.clone().requires_grad_() for t in self.tensors]
        f = self.outputs(x, leaves)
        mean = self.loss(f, y)
        gradients = torch.autograd.grad(mean, leaves)
        # muP: rates of effective matrices are eta m, eta, .., eta, eta / m.
        powers = [self.N, *[1] * (len(leaves) - 2), 1 / self.N]
        for i, (gradient, rate, power) in enumerate(zip(gradients, rates, powers, strict=True)):
            self.velocities[i] = self.beta * self.velocities[i] + gradient
            factor = torch.full_like(self.tensors[i], keep)
            if i == 0 and self.biased:
                factor[:, -1] = 1
            self.tensors[i] = factor * self.tensors[i] - rate * power * self.velocities[i]
        return f.detach()


LOSS = {
    "cross_entropy": torch.nn.functional.cross_entropy,
    "logistic": lambda f, y: torch.nn.functional.softplus((1 - 2 * y) * f[:, 0]).mean(),
    "mse": lambda f, y: ((f - torch.eye(C, dtype=f.dtype)[y]) ** 2).sum(dim=1).mean() / 2,
}


@pytest.mark.parametrize(
    ("L", "phi", "momentum", "keep", "loss", "N"),
    [
        (2, "relu", 0.0, 1.0, "cross_entropy", 96),
        (3, "relu", 0.9, 0.99, "cross_entropy", 96),
        (4, "tanh", 0.5, 1.0, "mse", 96),
        (1, "gelu", 0.9, 0.98, "cross_entropy", 96),
        (3, "relu", 0.9, 0.99, "cross_entropy", 20),  # more columns than particles: W is formed on the way
        (2, "elu", 0.0, 0.97, "mse", 20),
        (3, "leaky_relu", 0.9, 1.0, "logistic", 96),
    ],
)
def test_from_step_1_on_particles_are_a_dense_network(L, phi, momentum, keep, loss, N):
    system = Particles(problem(L, N, phi, momentum=momentum, loss=loss), 0)
    torch_phi = getattr(torch.nn.functional, phi) if phi != "tanh" else torch.tanh
    plain, probe = None, torch.randn(4, D, dtype=torch.float64)
    for step, (x, y) in enumerate(batches(classes=2 if loss == "logistic" else C)):
        rates = [(0.3 + 0.1 * layer) * (1 - 0.05 * step) * (5 if step == 0 else 1) for layer in range(L + 1)]
        if step == 1:
            plain = Plain(system, torch_phi, momentum, LOSS[loss])
        found = system.update(x, y, rates, keep)[1]
        if plain is not None:
            wanted = plain.update(x, y, rates, keep)
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(system.outputs(probe), plain.outputs(probe), rtol=1e-10, atol=1e-12)


def test_step_0_by_hand_with_one_hidden_layer():
    system = Particles(problem(1, 8), 0)
    w, v = (system.state()[name].clone() for name in ("w", "v"))
    x, y = next(iter(batches()))
    assert not system.outputs(x).any()
    loss, f = system.update(x, y, [0.5, 0.25])
    assert not f.any()
    assert loss == pytest.approx(torch.log(torch.tensor(3.0)).item())
    xi = torch.cat([x, torch.ones(B, 1, dtype=x.dtype)], dim=1)
    df = torch.full((B, C), 1 / 3, dtype=x.dtype) - torch.eye(C, dtype=x.dtype)[y]
    h = xi @ w.T
    u = (df @ v) * (h > 0)
    torch.testing.assert_close(system.state()["w"], w - 0.5 * u.T @ xi / B)
    torch.testing.assert_close(system.state()["v"], v - 0.25 * df.T @ torch.relu(h) / B)


def test_gaussians_of_step_0_have_the_covariances_of_the_theory():
    """Over replicas: h_0^2 ~ N(0, s^2 X'X/N), given the layer below; dx_0^1 likewise from above."""
    from ipcore.limits.first_pass import first_pass, initial_particles

    p = problem(2, 4000)
    w, v = initial_particles(p, 0)
    x, y = next(iter(batches()))
    first = first_pass(p, w, v, x, y, 0, "train")
    assert torch.allclose(first.h[0], first.x[0] @ w.T)
    wanted = 2.0 * first.x[1] @ first.x[1].T / 4000
    found = first.h[1] @ first.h[1].T / 4000
    assert torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted) < 0.1
    dx = 2.0 * first.u[1] @ first.u[1].T / 4000
    slope = (first.h[0] > 0).double()
    # u_0^1 = dx phi'(h): phi' is independent of dx.
    wanted = dx * (slope @ slope.T / 4000)
    found = first.u[0] @ first.u[0].T / 4000
    assert torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted) < 0.1


def test_without_a_bias_the_first_layer_has_no_column_for_it():
    system = Particles(problem(2, 10, biased=False), 0)
    assert system.state()["w"].shape == (10, D)
    x, y = next(iter(batches()))
    system.update(x, y, [0.1] * 3)
    assert not system.outputs(torch.zeros(1, D, dtype=torch.float64)).any()


def test_hidden_states_before_the_first_update_are_refused():
    with pytest.raises(ValueError, match="after the first update"):
        Particles(problem(2), 0).hidden(torch.zeros(1, D))


@pytest.mark.parametrize(("momentum", "N"), [(0.0, 40), (0.9, 13)])
def test_a_resumed_system_goes_on_bit_for_bit(momentum, N):
    """In every form of the matrices, and with neurons that revive."""
    setting = problem(2, N, momentum=momentum, revives=True)
    one = Particles(setting, 1)
    saved = {}
    for step, (x, y) in enumerate(batches()):
        one.update(x, y, [1.0] * 3, 0.99)
        saved[step] = {name: tensor.clone() for name, tensor in one.state().items()}
    for at in (0, 3, 6):
        other = Particles(setting, 1)
        other.load_state(saved[at])
        for step, (x, y) in enumerate(batches()):
            if step > at:
                other.update(x, y, [1.0] * 3, 0.99)
        for name, tensor in one.state().items():
            assert torch.equal(tensor, other.state()[name]), name


def test_dead_neurons_stay_dead_in_hpz_and_revive_in_hp():
    dead = {}
    for revives in (False, True):
        system = Particles(problem(2, 200, revives=revives), 0)
        first, *rest = batches()
        system.update(*first, [1.0] * 3)
        off = (system.state()["2/u"] == 0).all(dim=0)
        assert 0 < int(off.sum()) < 200
        for x, y in rest:
            system.update(x, y, [1.0] * 3)
        dead[revives] = int((system.state()["2/u"][:, off] == 0).all(dim=0).sum()), int(off.sum())
    assert dead[False][0] == dead[False][1]
    assert dead[True][0] < dead[True][1] / 2
