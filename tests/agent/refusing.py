"""`python refusing.py NUMBER ERRNO WORD...`: runs a program for which a system call fails, by a real seccomp filter."""

import ctypes
import errno
import os
import sys

_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Step(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("steps", ctypes.POINTER(_Step)))


def refuse(number: int, code: int) -> None:
    """From now on the system call of this number fails, for this process and all that it starts."""
    steps = (_Step * 4)(
        _Step(_LOAD, 0, 0, 0),  # the call's number
        _Step(_EQUALS, 0, 1, number),
        _Step(_RETURN, 0, 0, _ERRNO | code),
        _Step(_RETURN, 0, 0, _ALLOW),
    )
    libc = ctypes.CDLL(None, use_errno=True)
    one, nothing = ctypes.c_ulong(1), ctypes.c_ulong(0)
    assert libc.prctl(_NO_NEW_PRIVS, one, nothing, nothing, nothing) == 0
    done = libc.prctl(_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.byref(_Program(4, steps)), nothing, nothing)
    assert done == 0, os.strerror(ctypes.get_errno())


if __name__ == "__main__":
    refuse(int(sys.argv[1]), getattr(errno, sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])
