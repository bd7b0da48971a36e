"""A real SMTP server on this machine that keeps the mails it receives, and refuses on request."""

import socketserver
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Self


class SmtpServer(socketserver.ThreadingTCPServer):
    """As much of RFC 5321 as a client needs; a context manager."""

    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Talk)
        self.messages: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.is_refusing = False

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()


class _Talk(socketserver.StreamRequestHandler):
    server: SmtpServer
    timeout = 10

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.partition(" ")[0].upper()
            if verb == "RCPT":
                self.server.recipients.append(line)
            if verb == "DATA" and self.server.is_refusing:
                self._say("451 not now")
            elif verb == "DATA":
                self._say("354 go on")
                self.server.messages.append(self._message())
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 here")

    def _message(self) -> EmailMessage:
        body = b""
        while (row := self.rfile.readline()) != b".\r\n":
            body += row.removeprefix(b".")
        return message_from_bytes(body, policy=policy.default)

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")
