"""The store's functions inside a transaction; their first argument is the `Transaction`."""
