"""A DNS server for tests: A records of one name, changed while it runs."""

import ipaddress
import socket
import struct
import threading

A = 1


class Dns:
    """Answers every question for an A record with `addresses`, and others with nothing."""

    def __init__(self, addresses):
        self.addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._socket.close()

    def _serve(self):
        while True:
            try:
                query, peer = self._socket.recvfrom(4096)
                self._socket.sendto(self._answer(query), peer)
            except OSError:
                return  # closed

    def _answer(self, query):
        end = query.index(b"\0", 12) + 5  # name, type and class
        question = query[12:end]
        (kind,) = struct.unpack(">H", question[-4:-2])
        addresses = self.addresses if kind == A else []
        header = query[:2] + struct.pack(">HHHHH", 0x8580, 1, len(addresses), 0, 0)
        records = [
            struct.pack(">HHHIH", 0xC00C, A, 1, 1, 4) + ipaddress.ip_address(address).packed
            for address in addresses
        ]
        return header + question + b"".join(records)
