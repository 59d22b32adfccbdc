"""DNS of a cluster with one headless Service: the name has the address, no other name exists."""

import ipaddress
import socket
import struct
import threading

A, NXDOMAIN = 1, 3


class Dns:
    """On 127.0.0.1:53 of a pod's network."""

    def __init__(self, network, name, addresses):
        self.name, self.addresses = name, addresses
        with network.entered():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                question, asker = self.socket.recvfrom(4096)
                self.socket.sendto(self._answer(question), asker)
            except OSError:
                return  # closed

    def _answer(self, message):
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1:at + 1 + message[at]].decode().lower())
            at += 1 + message[at]
        kind = struct.unpack_from("!H", message, at + 1)[0]
        known = ".".join(labels) == self.name
        records = [ipaddress.ip_address(address).packed for address in self.addresses] if known and kind == A else []
        head = struct.pack("!2sHHHHH", message[:2], 0x8580 | (0 if known else NXDOMAIN), 1, len(records), 0, 0)
        answers = b"".join(struct.pack("!HHHIH", 0xC00C, A, 1, 5, len(record)) + record for record in records)
        return head + message[12:at + 5] + answers

    def close(self):
        self.socket.close()
