"""Where packs train: executors (Ray, local) and the trainer that runs in them."""
