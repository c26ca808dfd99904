"""The science of iplab: parameterizations, packed training, evaluation. No service needed."""
