"""The gRPC API: stateless; uses the store, and neither Ray nor torch nor MLflow."""
