"""What the address of a git remote tells: who hosts it, and where a branch of it is shown."""

import re
from urllib.parse import quote

# scp's form (git@host:owner/repo.git), and addresses with a scheme; ports and users are not part of a page's address.
_SCP = re.compile(r"(?:[^@/\s]+@)?([^:/\s]+):(?!/)(\S+)\Z")
_URL = re.compile(r"(?:https?|ssh|git)://(?:[^@/\s]+@)?([^:/\s]+)(?::\d+)?/(\S+)\Z", re.IGNORECASE)

# The page of a branch, by provider.
_PAGES = {"github": "tree", "gitlab": "-/tree", "bitbucket": "src"}


def provider(remote: str) -> str | None:
    """`github`, `gitlab` or `bitbucket`, as the remote's host says; None for others."""
    found = _parts(remote)
    return _provider(found[0]) if found else None


def branch_page(remote: str, branch: str) -> str | None:
    """The address of the page that shows the branch, where it is known how the host calls it."""
    found = _parts(remote)
    if not found or not branch:
        return None
    host, path = found
    kind = _provider(host)
    if kind is None:
        return None
    return f"https://{host}/{quote(path, safe='/%~')}/{_PAGES[kind]}/{quote(branch, safe='/')}"


def _provider(host: str) -> str | None:
    labels = host.split(".")
    return next((kind for kind in _PAGES if kind in labels), None)


def _parts(remote: str) -> tuple[str, str] | None:
    found = _URL.match(remote.strip()) or _SCP.match(remote.strip())
    if found is None:
        return None
    path = found[2].strip("/").removesuffix(".git")
    return (found[1].lower(), path) if path else None
