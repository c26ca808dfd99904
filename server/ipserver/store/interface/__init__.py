"""The store's methods, one class per kind of caller. `ipserver.store.store.Store` has all of them."""
