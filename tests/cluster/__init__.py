"""`make cluster-test`: the stack of `deploy/compose.yaml` for real on one machine.

Every service runs with the command, environment, secrets, user and read-only root that the file gives it, in
namespaces of its own (network, mounts, processes, host name). What is not as in containers: programs and
libraries are this machine's, PostgreSQL is that of `IPLAB_TEST_POSTGRES`, moto stands for the object store.

`IPLAB_TEST_IMAGE` may name the folder of an unpacked image (`buildah mount`); then all but those two
run from it.
"""
