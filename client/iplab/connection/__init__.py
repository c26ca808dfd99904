"""The way to a service: address, credentials, proxies, retries, and what its statuses mean."""
