"""The gRPC API: stateless, knows the store and nothing of Ray, torch or MLflow."""
