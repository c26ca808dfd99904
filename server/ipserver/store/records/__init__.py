"""Input and output of the store as plain values (no SQLAlchemy, no protobuf).

Times are seconds since 1970-01-01 UTC by the store's clock.
"""
