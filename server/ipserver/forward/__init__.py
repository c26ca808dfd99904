"""Forwarding of runs, metrics and files from the store to MLflow."""
