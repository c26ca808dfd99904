"""From a request to runs: defaults, rules, expansion, predictions. Knows nothing of scheduling."""
