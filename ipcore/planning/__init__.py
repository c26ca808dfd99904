"""Memory and time of training, before anything is allocated. Standard library only."""
