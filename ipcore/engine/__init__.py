"""Training of K networks at once: forward, backward, optimizers, and the numbers of one step."""
