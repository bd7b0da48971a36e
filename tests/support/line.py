"""A TCP connection to a server that a test can cut, or let fall silent.

with Line("127.0.0.1", 5432) as line:
    ...connect to 127.0.0.1, line.port...
    line.cut()       # every connection ends, and no other comes about
    line.silence()   # connections stay open, and nothing arrives: packets are dropped
    line.mend()
"""

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 65_536


class Line:
    """Listens from construction on a port of its own; a context manager."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._passes = asyncio.Event()
        self._passes.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def cut(self) -> None:
        """End every connection, and each new one as soon as it comes about."""
        self._is_cut = True
        self._loop.call_soon_threadsafe(self._end_all)

    def silence(self) -> None:
        """Let nothing pass from now on, without ending a connection."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def mend(self) -> None:
        """Let everything pass again, also what was on its way."""
        self._is_cut = False
        self._loop.call_soon_threadsafe(self._passes.set)

    def close(self) -> None:
        """End every connection and stop listening."""
        self._is_cut = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        beyond = None
        try:
            await self._passes.wait()
            if not self._is_cut:
                answers, beyond = await asyncio.open_connection(*self.target)
                self._writers.add(beyond)
                await asyncio.gather(self._pass_on(reader, beyond), self._pass_on(answers, writer))
        except OSError:
            pass  # one side is gone
        finally:
            for one in (writer, beyond):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self._passes.wait()
            writer.write(data)
            await writer.drain()
        # one side has ended the connection: so it ends for the other, too
        with suppress(OSError):
            writer.close()

    async def _end(self) -> None:
        self._server.close()
        self._end_all()
        passing = asyncio.all_tasks() - {asyncio.current_task()}
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    def _end_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
