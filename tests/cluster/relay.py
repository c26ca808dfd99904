"""Relays TCP connections to a Unix socket, or back: connects a network namespace with this machine.

python relay.py tcp:0.0.0.0:5432 unix:/run/postgres.sock
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

_BYTES = 1 << 16


async def relay(listen: str, target: str) -> None:
    """Serve until killed."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await _connect(target)
        except OSError as error:
            print(f"{target}: {error}", file=sys.stderr)
            writer.close()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    kind, _, where = listen.partition(":")
    if kind == "unix":
        server = await asyncio.start_unix_server(carry, where)
    else:
        host, _, port = where.rpartition(":")
        server = await asyncio.start_server(carry, host, int(port))
    async with server:
        await server.serve_forever()


async def _connect(target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, where = target.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(where)
    host, _, port = where.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Either end may close at any time; then the other sees the end of the stream.
    with contextlib.suppress(OSError):
        while data := await reader.read(_BYTES):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], sys.argv[2]))
