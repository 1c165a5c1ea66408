"""Where a path of the model leads."""

import os
from pathlib import Path

from agent.frames import Frame, Refused


def located(path: str, directory: Path, home: Path) -> Path:
    """The absolute path that is meant: `~` is home, what is relative begins in the working directory."""
    if "\0" in path:
        raise Refused("invalid", "a path cannot have a NUL in it")
    if path == "~" or path.startswith("~/"):
        return Path(os.path.normpath(home / path[2:]))
    # normpath, not resolve: where symbolic links lead is for whoever opens it to ask.
    return Path(os.path.normpath(directory / path))


def itself(path: Path) -> None:
    """Refuse a path that leads elsewhere: one with a symbolic link in it."""
    if real(path) != path:
        raise Refused("denied", f"{path} does not resolve to itself: there is a symbolic link in it")


def real(path: Path) -> Path:
    """Where a path leads in the end, whether something is there or not."""
    return Path(os.path.realpath(path))


def resolved(path: Path) -> Frame:
    """Where a path leads in the end, and whether that is elsewhere."""
    end = real(path)
    return {"path": str(end), "exists": os.path.lexists(end), "is_symlink": end != path}


def refusal(path: Path, error: OSError) -> Refused:
    """What a model is told when the system refuses a path."""
    if isinstance(error, FileNotFoundError):
        return Refused("not_found", f"{path} does not exist")
    if isinstance(error, PermissionError):
        return Refused("denied", f"{path}: permission denied")
    if isinstance(error, NotADirectoryError):
        return Refused("not_directory", f"{path}: a part of the path is not a directory")
    if isinstance(error, IsADirectoryError):
        return Refused("invalid", f"{path} is a directory")
    return Refused("internal", f"{path}: {error.strerror or error}")
