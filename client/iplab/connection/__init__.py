"""Connections to a service: address, credentials, proxies, retries, conversion of errors."""
