"""Hands a file of the workspace to the API, once a job: the API knows it by the job's id."""

import http.client
import json
import stat
from pathlib import Path
from urllib.parse import quote, urlsplit

from agent.frames import Frame, Refused
from agent.paths import refusal

_PATH = "/api/v2/workspaceagents/me/files"


def upload(url: str, token: str, job: str, path: Path, name: str, max_bytes: int) -> Frame:
    """Post the bytes of a file; what the API calls it. Raises OSError when the API cannot be reached."""
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(path.stat().st_mode):
                raise Refused("invalid", f"{path} is not a regular file")
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise refusal(path, error) from error
    if not content:
        raise Refused("invalid", f"{path} is empty")
    if len(content) > max_bytes:
        raise Refused("too_large", f"{path} is larger than {max_bytes} bytes")
    return hand_over(url, token, job, content, name or path.name)


def hand_over(url: str, token: str, job: str, content: bytes, name: str, part: str = "") -> Frame:
    """Post bytes as a file, or as one `part` of several that a job brings. Raises OSError as `upload` does."""
    query = f"?name={quote(name, safe='')}&job={quote(job, safe='')}"
    return _post(url, token, query + (f"&part={quote(part, safe='')}" if part else ""), content)


def _post(url: str, token: str, query: str, content: bytes) -> Frame:
    place = urlsplit(url)
    secure = place.scheme in {"https", "wss"}
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(place.hostname or "", place.port, timeout=60)
    try:
        headers = {"Coder-Session-Token": token, "Content-Type": "application/octet-stream"}
        connection.request("POST", place.path.rstrip("/") + _PATH + query, content, headers)
        answer = connection.getresponse()
        body = answer.read(2**20)
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ConnectionError(f"the API answered {answer.status} without a word")
    if answer.status >= 500:
        raise ConnectionError(str(said.get("message", answer.status)))
    if answer.status >= 300:
        detail = f" {said['detail']}" if said.get("detail") else ""
        kind_of = "too_large" if answer.status == 413 else "denied" if answer.status in {401, 403} else "invalid"
        raise Refused(kind_of, f"{said.get('message', answer.status)}{detail}")
    return said
