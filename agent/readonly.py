"""Runs a command that cannot write: Landlock keeps it, and all that it starts, from changing files, for good.

`python -I -S readonly.py FOLDER WORD...` becomes that command. It runs by itself, so it imports nothing of ours; and
before each command, so it imports little (pathlib alone would take as long as all the rest).
"""

import ctypes
import os
import signal
import stat
import sys

ROOM = "tmp"  # below a process's folder: where its command may write
PROOF = "confined"  # there too: is not empty once the command is confined, just before it begins
UNABLE = 126  # the exit status where the command could not begin

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture that has them
_ASK_VERSION = 1
_BENEATH = 1
_NO_NEW_PRIVS = 38

# Bits of linux/landlock.h. What reads, lists or executes is not named here, and so stays free.
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
# Removing directories and files; making directories, files, sockets, pipes and symbolic links.
_ENTRIES = sum(1 << bit for bit in (4, 5, 7, 8, 9, 10, 12))
# Making devices, and ioctl on them: granted nowhere, since root could make the disk anew in its room and write to it.
_MAKE_DEVICES, _IOCTL_DEV = 1 << 6 | 1 << 11, 1 << 15
_REFER = 1 << 13  # linking and renaming from one directory to another
_RIGHTS = ((1, _WRITE_FILE | _ENTRIES | _MAKE_DEVICES), (2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV))  # since when
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2
_TRUNCATES_SINCE, _SCOPED_SINCE = 3, 6

# Not all of /dev: disks, /dev/shm and other people's terminals are there too.
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("place", ctypes.c_int32))


def version() -> int:
    """Which version of Landlock the kernel has; OSError where it has none, or it is switched off."""
    if sys.platform != "linux":
        raise OSError(f"{sys.platform} has no Landlock")
    return _call(_CREATE_RULESET, None, 0, _ASK_VERSION)


def verdict() -> tuple[bool, str]:
    """Whether commands can be kept from writing here, and what a model must know of that."""
    try:
        known = version()
    except OSError as error:
        why = f"the kernel has no Landlock, or it is switched off ({error.strerror or error})"
        return False, f"Nothing kept the command from writing: {why}."
    return True, lacking(known)


def lacking(known: int) -> str:
    """How a command can spoil files in spite of a version of Landlock."""
    if known >= _TRUNCATES_SINCE:
        return ""
    return "This kernel (older than 6.2) kept the command from writing, but not from cutting files short."


def handled(known: int) -> tuple[int, int]:
    """The rights over files that a version of Landlock can take away, and the scopes that it can shut."""
    rights = 0
    for since, added in _RIGHTS:
        rights |= added if known >= since else 0
    return rights, _ABSTRACT_SOCKETS | _SIGNALS if known >= _SCOPED_SINCE else 0


def environment(folder: str) -> dict[str, str]:
    """What a command that cannot write needs: a place for what is temporary, and a git that does not try to."""
    return {"TMPDIR": f"{folder}/{ROOM}", "GIT_OPTIONAL_LOCKS": "0"}


def words(folder: str, command: list[str]) -> list[str]:
    """What runs a command confined to the room of its process's folder."""
    return [sys.executable, "-I", "-S", __file__, folder, *command]


def main(folder: str, command: list[str]) -> int:
    """Become the command; returns only where that fails."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # what the interpreter has changed would be inherited
    try:
        # Opened before, written after: an empty one proves nothing.
        proof = os.open(f"{folder}/{PROOF}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        given = _environment()
        _confine(f"{folder}/{ROOM}", sys.stdout.fileno())
        os.write(proof, b"yes\n")
        os.execve(command[0], command, given)  # noqa: S606 - the command is the words of a shell
    except OSError as error:
        sys.stderr.write(f"{error}\n")
    return UNABLE


def _environment() -> dict[bytes, bytes]:
    """The environment as it was given to us: the interpreter adds to its own (LC_CTYPE)."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - see above
        entries = file.read().split(b"\0")
    return {name: value for name, equals, value in (entry.partition(b"=") for entry in entries) if equals}


def _confine(room: str, output: int) -> None:
    """Let this process, and all that it starts, write only in its room, to the file of its output, and to devices."""
    rights, scoped = handled(version())
    asked = _Ruleset(rights, 0, scoped)  # a kernel that knows fewer fields takes it, as the rest is zero
    ruleset = _call(_CREATE_RULESET, ctypes.byref(asked), ctypes.sizeof(asked), 0)
    _allow(ruleset, _opened(room), rights & ~_MAKE_DEVICES & ~_IOCTL_DEV)
    files = rights & (_WRITE_FILE | _TRUNCATE)
    if stat.S_ISREG(os.fstat(output).st_mode):
        _allow(ruleset, os.dup(output), files)  # opening /dev/stderr is opening that file anew
    for name in _DEVICES:
        try:
            device = _opened(f"/dev/{name}")
        except FileNotFoundError:
            continue
        if stat.S_ISCHR(os.fstat(device).st_mode):
            _allow(ruleset, device, files)
    _call_libc("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
    _call(_RESTRICT_SELF, ruleset, 0)


def _opened(place: str) -> int:
    return os.open(place, os.O_PATH | os.O_CLOEXEC)


def _allow(ruleset: int, place: int, rights: int) -> None:
    """Allow something there and, if it is a directory, below."""
    _call(_ADD_RULE, ruleset, _BENEATH, ctypes.byref(_Rule(rights, place)), 0)


def _call(number: int, *words: object) -> int:
    """A system call that the C library has no name for."""
    return _call_libc("syscall", number, *words)


def _call_libc(name: str, *words: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    wide = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]  # as the kernel reads them
    result: int = getattr(library, name)(*wide)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
