"""A pass-through to an endpoint that logs what was asked and what was answered in full.

Run as a script: `python logging_proxy.py TARGET_PORT LOG` prints its port.
"""

import asyncio
import contextlib
import hashlib
import re
import sys


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length:\s*(\d+)", head, re.IGNORECASE)
    if length:
        return head, await reader.readexactly(int(length.group(1)))
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        body += await reader.readline()
    return head, body


async def main(target: int, log_path: str) -> None:
    log = open(log_path, "a")  # noqa: SIM115

    async def handle(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head, body = await read_message(reader)
                name = hashlib.sha256(body).hexdigest()
                print("asked", name, file=log, flush=True)
                upstream, to_upstream = await asyncio.open_connection("127.0.0.1", target)
                to_upstream.write(head + body)
                answer = b"".join(await read_message(upstream))
                to_upstream.close()
                writer.write(answer)
                await writer.drain()
                # A client that died meanwhile has reset the connection; then nothing was answered.
                await asyncio.sleep(0.005)
                if reader.at_eof() or writer.transport.is_closing():
                    break
                print("answered", name, answer[9:12].decode(), file=log, flush=True)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=2**24)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
