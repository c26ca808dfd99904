"""iplab's Python SDK: submit experiments, follow them, get metrics and weights back."""
