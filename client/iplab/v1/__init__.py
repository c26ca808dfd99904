"""Messages and stubs generated from proto/iplab/v1 (make proto)."""
