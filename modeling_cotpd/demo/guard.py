"""What the demo's server refuses before Gradio sees it: other host names, uploads that the page has no use for."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Any

MAX_BODY = 21 << 20
"""Bytes of a request: a picture of 20 MB and its frame."""


class Guard:
    """ASGI middleware of an application that is served on the address `host`; `uploads` lets it take pictures.

    A page of another site can send requests to this machine under a name of its own that it lets point here (DNS
    rebinding). So a request must name this machine, or an address, and what a page sends must come from this one.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], host: str, uploads: bool):
        self.app, self.uploads = app, uploads
        self.names = {"localhost", host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        status = self.refusal(scope) if scope["type"] in ("http", "websocket") else None
        if status is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    def refusal(self, scope: dict[str, Any]) -> int | None:
        """The status of a request that is refused, `None` for one that is not."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if not self._is_here(host):
            return 421
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return 403
        if b"transfer-encoding" in headers:  # browsers say how long a body is
            return 411
        if "/upload" in scope["path"] and not self.uploads:
            return 403
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return 413
        return None

    def _is_here(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        name = name.strip("[]").lower()
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
