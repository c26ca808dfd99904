"""The store's methods, a class for each caller. `ipserver.store.store.Store` has them all."""
