"""A pod's network: a namespace of its own with nothing but a loopback interface."""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


class Network:
    """Gone when it is closed and the last process in it has ended."""

    def __init__(self):
        maker = threading.Thread(target=self._make)  # the thread itself moves into the namespace, and ends
        maker.start()
        maker.join()
        # For runc and nsenter, which are other processes.
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"

    def _make(self):
        _check(LIBC.unshare(CLONE_NEWNET))
        self.fd = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            request = struct.pack("16sh14x", b"lo", 0)
            flags = struct.unpack("16xh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[0]
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))

    @contextlib.contextmanager
    def entered(self):
        """Sockets that this thread makes meanwhile belong to the pod, and go on doing so."""
        before = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        try:
            _check(LIBC.setns(self.fd, CLONE_NEWNET))
            yield
        finally:
            _check(LIBC.setns(before, CLONE_NEWNET))
            os.close(before)

    def command(self, *command):
        """The command, to be run in the pod's network."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, command)]

    def close(self):
        os.close(self.fd)


def _check(result):
    if result:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
