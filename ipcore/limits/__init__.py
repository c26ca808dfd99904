"""The infinite-width limit beside every network, and networks far wider than dense training allows.

- `kinds.limit_of`: which limit a run has at m = infinity, or why none is computed (standard library).
- `cost`, `problems`: memory and time before anything is allocated, and what is refused (standard library).
- `trainer.LimitTrainer`: trains runs with `PackConfig.infinite_width` or `deferred`, slice by slice;
  `trainer.trainer_of` makes the trainer of any pack.
- `particles`, `first_rates`, `revival`: IP-LLR, HP, HPZ and two-layer mean-field networks at m = infinity.
- `kernels`, `kernel_machine`: the neural tangent kernel and the Gaussian process of the start.
- `deferred`, `deferred_network`: initial hidden matrices that are drawn only where training looks at them.

docs/limits.md has the derivations.
"""
