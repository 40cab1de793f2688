"""An endpoint that answers every chat completion at once, as fast as Python can: it prints its port and serves."""

import asyncio
import json

ANSWER = json.dumps(
    {
        "id": "answer",
        "object": "chat.completion",
        "created": 1,
        "model": "fast",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Varro Quill keeps goal for Lindmere Athletic. " * 4},
            }
        ],
        "usage": {"prompt_tokens": 60, "completion_tokens": 50, "total_tokens": 110},
    }
).encode()
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """Reads requests, one after another, and answers each as soon as its body is there."""

    def connection_made(self, transport) -> None:
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            length = int(head[head.find(LENGTH) + len(LENGTH) :].split(b"\r\n")[0])
            if len(self.received) < end + 4 + length:
                return
            self.received = self.received[end + 4 + length :]
            self.transport.write(RESPONSE)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
