"""Training of packs: executors (Ray, local) and the trainer that runs in them."""
