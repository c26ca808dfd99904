"""The commented spec that `iplab init` writes."""

from __future__ import annotations

from typing import Final

TEMPLATE: Final = """\
# What is trained: every combination of the lists in `grid` is one run. As it
# is, 2 parameterizations, 3 widths, 2 rates and 3 seeds are 36 runs, about a
# minute on two cores.
#
#   iplab submit {file} --dry-run   # runs, memory, time; creates nothing
#   iplab submit {file} --watch     # train it, and show the results
#
# Names to choose from (datasets, losses, optimizers, ...): iplab catalog
# Parameterizations with their exponents: iplab parameterizations
display_name: Which rate is best at which width
# labels: {{team: theory}}    # iplab list --filter 'labels.team = theory'
# notes: |
#   Free text, on any number of lines.
# priority: 0               # packs of higher priority are placed first
spec:
  dataset: digits           # 1,797 images of 8 x 8 pixels, in every service
  loss: cross_entropy
  batch_size: 64
  steps: 200                # updates of each run
  evaluation_interval: 50   # on the test set; 0: before and after training only
  # validation_size: 300    # of the training set, to choose rates: show --best
  # optimizer: {{name: adam}} # sgd if it is left out
  grid:
    parameterizations:
      - preset: mup         # features move at every width
      - preset: ntk         # they move less and less
      # - label: mine       # by exponents, first layer to last
      #   exponents: {{a: [0, "1/2", 1], b: [0, 0, 0], c: [0, 0, 0]}}
    widths: [64, 128, 256]  # inf: the limit itself, where known (docs/limits)
    hidden_layers: [2]
    activations: [relu]
    base_learning_rates: [0.05, 0.2]
    seeds: [0, 1, 2]        # means and intervals are over these
  record:
    metrics_interval: 10    # of the training metrics, in updates
    weights: final          # none, final, initial_and_final, every (docs/using)
    # For `iplab check`:
    # probes: {{quantities: [coordinates], steps: [0, 1, 2, 3]}}
  resources: {{cpus: 1}}      # of each pack of runs; gpus: 1 trains on a GPU
"""


def template(file: str) -> str:
    """The commented spec, which calls itself `file`."""
    return TEMPLATE.format(file=file)
