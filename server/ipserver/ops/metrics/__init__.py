"""Metrics of the parts, for Prometheus. Only parts that serve them import this room."""
