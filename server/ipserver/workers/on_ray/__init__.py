"""Training by Ray actors, on a Ray of the dispatcher's own or on a cluster that it joins.

Actors are not detached: they die with this process. The store, not Ray, is the source of truth.
"""
