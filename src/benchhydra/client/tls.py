"""TLS that a connection does by itself, on the bytes of its socket: a third of what the loop's own layer costs.

That one takes 13 us for each token of a stream, most of it between its buffers; one call into OpenSSL a record takes 4.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from contextlib import suppress

from benchhydra.client import Endpoint

_RECORD_BYTES = 16384  # what a TLS record holds at most
#: A server that takes the connection and then says nothing.
HANDSHAKE_TIMEOUT_S = 60.0


class Tls:
    """One connection's session. ``ended``: the server has said that no more will come."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.ended = False

    async def shake_hands(self, sock: socket.socket) -> None:
        """On a connected, non-blocking socket. Raises OSError (ssl.SSLError is one)."""
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                while not await self._one_step(sock):
                    pass
        except TimeoutError as error:
            raise TimeoutError(errno.ETIMEDOUT, f"no TLS handshake within {HANDSHAKE_TIMEOUT_S:g} s") from error

    async def _one_step(self, sock: socket.socket) -> bool:
        """Say what there is to say, and hear the answer. Whether nothing more is to be heard."""
        loop = asyncio.get_running_loop()
        try:
            self._session.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        finally:  # where it failed, the server is told why
            await loop.sock_sendall(sock, self.to_send())
        if not done:
            received = await loop.sock_recv(sock, _RECORD_BYTES)
            if not received:
                raise ConnectionResetError(errno.ECONNRESET, "closed in the TLS handshake")
            self._incoming.write(received)
        return done

    def encrypt(self, data: bytes) -> bytes:
        """The records that carry these bytes."""
        written = self._session.write(data)
        while written < len(data):
            written += self._session.write(data[written:])
        return self.to_send()

    def decrypt(self, data: bytes) -> bytes:
        """What the records say that came, as far as they are whole; often nothing. Raises ssl.SSLError."""
        self._incoming.write(data)
        parts = []
        try:
            while True:
                part = self._session.read(_RECORD_BYTES)
                if not part:
                    self._end()
                    break
                parts.append(part)
                if not self._incoming.pending and not self._session.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end(self) -> None:
        self.ended = True
        with suppress(ssl.SSLError):
            self._session.unwrap()  # our own goodbye, for which servers wait

    def to_send(self) -> bytes:
        """Records that wait to be sent: TLS has words of its own."""
        return self._outgoing.read()


def context_for(endpoint: Endpoint) -> ssl.SSLContext:
    """What is trusted. Raises OSError where the file with certificates cannot be read."""
    context = ssl.create_default_context(cafile=endpoint.ca_file)
    if not endpoint.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
