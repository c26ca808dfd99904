"""A load balancer, as stands in front of several APIs: each connection goes to the next of them."""

import itertools
import socket
import threading
from contextlib import suppress


class Balancer:
    """Listens on a loopback port until it is closed. An address that refuses a connection is passed over.

    Args:
        addresses: HOST:PORT of each API; the first connection goes to the first.

    Attributes:
        address: Where it listens.
        taken: The address that took each connection, in order.
    """

    def __init__(self, *addresses):
        self.taken = []
        self._turns = itertools.cycle(addresses)
        self._count = len(addresses)
        self._open = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for end in self._open:
            _shut(end)
            end.close()

    def _accept(self):
        with suppress(OSError):  # closed
            while True:
                near, _ = self._server.accept()
                far = self._connect()
                if far is None:
                    near.close()
                    continue
                self._open += (near, far)
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=(source, target), daemon=True).start()

    def _connect(self):
        for address in itertools.islice(self._turns, self._count):
            host, _, port = address.rpartition(":")
            with suppress(OSError):
                found = socket.create_connection((host, int(port)), timeout=5)
                found.settimeout(None)
                self.taken.append(address)
                return found
        return None


def _copy(source, target):
    """Carry bytes until either side ends; then end the other."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    _shut(source)
    _shut(target)


def _shut(end):
    with suppress(OSError):  # the other side was first
        end.shutdown(socket.SHUT_RDWR)
