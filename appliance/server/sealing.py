"""No process of a server reaches out: once its port is open, the kernel gives it no other way into the network.

A filter of system calls (man 2 seccomp), which this process and all that it starts keep until their end: no socket but
those between processes of this machine, and nothing is connected, not even a socket that is there. Nor is another
process traced, such as the one that asks after this one's health and is not sealed; a filter sees no names of files,
so `/proc/PID/mem` is the kernel's own business (`kernel.yama.ptrace_scope`). So whoever tricks a decoder, or takes this
process over, finds answers to clients the only way out. It needs no root and no firewall.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of the filter: linux/bpf_common.h."""
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
"""Where `struct seccomp_data` has the call, the machine and the arguments, 8 bytes each."""
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_DENIED, _UNKNOWN = _REFUSE | errno.EACCES, _REFUSE | errno.ENOSYS
_NOBODY = _REFUSE | errno.ECONNREFUSED
"""What libraries that look for a service of the machine take as an answer, and do without."""
_OTHER_CALLS = 0x40000000
"""From here on amd64 has the calls of x32, which do the same under other numbers."""
_FAST_OPEN = 0x20000000
"""MSG_FASTOPEN: connects while it sends."""

_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _ALL_THREADS = 1, 1


@dataclass(frozen=True, slots=True)
class _Calls:
    """Numbers of system calls on one machine.

    ``holds``: of those that take hold of another process: ptrace, process_vm_readv, process_vm_writev.
    ``sends``: with the place of their flags among the arguments.
    """

    machine: int
    seccomp: int
    socket: int
    connect: int
    holds: tuple[int, ...]
    sends: tuple[tuple[int, int], ...]
    io_uring_setup: int = 425
    pidfd_getfd: int = 438


_CALLS = {
    "x86_64": _Calls(0xC000003E, 317, 41, 42, (101, 310, 311), ((44, 3), (46, 2), (307, 3))),
    "aarch64": _Calls(0xC00000B7, 277, 198, 203, (117, 270, 271), ((206, 3), (211, 2), (269, 3))),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("rows", ctypes.c_char_p))


def seal() -> None:
    """Close this process, all its threads, and all that it will start. It can't be undone.

    Raises:
        OSError: the kernel, or the container's own filter, does not allow filters; or the machine is of another kind.
    """
    calls = _CALLS.get(platform.machine())
    if calls is None or sys.byteorder != "little":
        raise OSError(errno.ENOSYS, f"not known on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    rows = b"".join(_filter(calls))
    program = _Program(len(rows) // 8, rows)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    done = libc.syscall(ctypes.c_long(calls.seccomp), _SET_FILTER, _ALL_THREADS, ctypes.byref(program))
    if done != 0:  # or the number of a thread that has a filter of its own
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()) if done < 0 else f"thread {done} is filtered")


def _filter(calls: _Calls) -> Iterator[bytes]:
    """A call is compared with one after the other; behind each stands what becomes of it."""
    yield _row(_LOAD, _MACHINE)
    yield from _unless(_EQUAL, calls.machine, [_row(_RETURN, _UNKNOWN)])
    yield _row(_LOAD, _NUMBER)
    if calls.machine == _CALLS["x86_64"].machine:
        yield from _when(_AT_LEAST, _OTHER_CALLS, [_row(_RETURN, _UNKNOWN)])
    yield from _when(_EQUAL, calls.connect, [_row(_RETURN, _NOBODY)])
    # The first of these does the same as others, where no filter sees it.
    for number in (calls.io_uring_setup, calls.pidfd_getfd, *calls.holds):
        yield from _when(_EQUAL, number, [_row(_RETURN, _DENIED)])
    local = _when(_EQUAL, socket.AF_UNIX, [_row(_RETURN, _ALLOW)])
    yield from _when(_EQUAL, calls.socket, [_argument(0), *local, _row(_RETURN, _DENIED)])
    for number, flags in calls.sends:
        connects = _when(_ANY_BIT, _FAST_OPEN, [_row(_RETURN, _DENIED)])
        yield from _when(_EQUAL, number, [_argument(flags), *connects, _row(_RETURN, _ALLOW)])
    yield _row(_RETURN, _ALLOW)


def _row(code: int, value: int, met: int = 0, unmet: int = 0) -> bytes:
    """``met``, ``unmet``: how many rows to skip."""
    return struct.pack("<HBBI", code, met, unmet, value)


def _when(code: int, value: int, rows: list[bytes]) -> list[bytes]:
    return [_row(code, value, 0, len(rows)), *rows]


def _unless(code: int, value: int, rows: list[bytes]) -> list[bytes]:
    return [_row(code, value, len(rows), 0), *rows]


def _argument(place: int) -> bytes:
    """Its lower half: the kernel takes these arguments as 32 bits."""
    return _row(_LOAD, _FIRST_ARGUMENT + 8 * place)
