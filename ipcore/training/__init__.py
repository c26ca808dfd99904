"""Training from a configuration to results: the trainer, recording, checkpoints, calibration, evaluation."""
