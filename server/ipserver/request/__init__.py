"""From a request to runs: defaults, rules, expansion, predictions. Independent of scheduling."""
