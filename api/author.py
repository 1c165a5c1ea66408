"""Who does it and by which request, as the audit log wants to know: a parameter type of handlers that change things."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from api.caller import Caller
from models.store.audit import Author


async def _author(connection: HTTPConnection, caller: Caller) -> Author:
    return Author(caller.user_id, connection.state.request_id)


By = Annotated[Author, Depends(_author)]
