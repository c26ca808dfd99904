"""`make cluster-test`: the stack of `deploy/compose.yaml`, run on one machine.

Every service runs with the command, environment, secrets, user and read-only root of the file, in its own
namespaces (network, mounts, processes, host name). Differences to containers: programs and libraries are this
machine's, PostgreSQL is the server of `IPLAB_TEST_POSTGRES`, and moto is the object store.

`IPLAB_TEST_IMAGE` may name the folder of an unpacked image (`buildah mount`); then all services except those
two run from it.
"""
