"""All tests and measurements that need a GPU: `tests/gpu.sh`.

    environment   the machine and its versions
    tests         the CUDA tests of tests/ipcore
    speed         tests.benchmarks.gpu
    memory        tests.benchmarks.memory on the device
    limits        ipcore.limits: times, and distances of networks to their limit
    authors       the tables of arXiv:2110.15596 (2021): MNIST and CIFAR-10, five methods, five seeds
        sweep         the sweep of its published revision (2023): 5,600 runs, as far as time allows

Each part is a program that writes JSON as it proceeds; `tests.gpu` runs them in turn.
"""
