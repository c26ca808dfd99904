"""From the store to MLflow."""
