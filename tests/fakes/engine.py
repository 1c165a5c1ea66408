"""A stand-in for a Docker engine: containers, volumes and images in memory, asked over a unix socket."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any, Self

from aiohttp import web


class Engine:
    """What there is, and what was asked; `broken` names paths that are refused."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.images: set[str] = {"there:latest"}
        self.volumes: set[str] = set()
        self.containers: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.broken: tuple[str, ...] = ()
        self._number = 0

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/v1.41/{path:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.asked.append(f"{request.method} {path}")
        if any(each in path for each in self.broken):
            return web.json_response({"message": "it is broken"}, status=500)
        match [request.method, *path.split("/")]:
            case ["GET", "images", *name, "json"]:
                return web.json_response({}, status=200 if "/".join(name) in self.images else 404)
            case ["POST", "images", "create"]:
                return await self._pull(request)
            case ["POST", "volumes", "create"]:
                self.volumes.add((await request.json())["Name"])
                return web.json_response({}, status=201)
            case ["DELETE", "volumes", name]:
                known = name in self.volumes
                self.volumes.discard(name)
                return web.Response(status=204) if known else web.json_response({"message": "no"}, status=404)
            case ["GET", "containers", "json"]:
                [label] = json.loads(request.query["filters"])["label"]
                key, _, value = label.partition("=")
                return web.json_response([c for c in self.containers.values() if c["Labels"].get(key) == value])
            case ["POST", "containers", "create"]:
                return await self._create(request)
            case ["PUT", "containers", name, "archive"]:
                with tarfile.open(fileobj=io.BytesIO(await request.read())) as tar:
                    read = {each.name: tar.extractfile(each) for each in tar}
                    self.files[name] = {path: file.read() for path, file in read.items() if file}
                return web.Response()
            case ["POST", "containers", name, "start"]:
                self.containers[name]["State"] = "running"
                return web.Response(status=204)
            case ["POST", "containers", name, "stop"]:
                self.containers[name]["State"] = "exited"
                return web.Response(status=204)
            case ["DELETE", "containers", name]:
                del self.containers[name]
                return web.Response(status=204)
        return web.json_response({"message": f"{request.method} {path} is not known"}, status=400)

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        name = request.query["fromImage"]
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'{"status":"Pulling"}\n{"status":"Downloading","progressDetail":{}}\n')
        if name.startswith("nowhere"):
            await answer.write(b'{"error":"manifest unknown"}\n')
        else:
            self.images.add(name)
            await answer.write(b'{"status":"Done"}\n')
        await answer.write_eof()
        return answer

    async def _create(self, request: web.Request) -> web.Response:
        name = request.query["name"]
        if any(each["Names"] == [f"/{name}"] for each in self.containers.values()):
            return web.json_response({"message": "the name is in use"}, status=409)
        asked = await request.json()
        self._number += 1
        made = f"c{self._number}"
        self.containers[made] = {
            "Id": made,
            "Names": [f"/{name}"],
            "Labels": asked["Labels"],
            "State": "created",
            "asked": asked,
        }
        return web.json_response({"Id": made}, status=201)
