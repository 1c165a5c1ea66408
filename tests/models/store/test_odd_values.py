"""What providers and people send may be odd: it is stored as far as it can be, and costs no answer."""

from datetime import timedelta

from models.parts import text
from models.steps import Then
from models.store import chats, moves, standing
from models.store.database import Database
from tests.models.store.chats import born, opened, snapshot
from tests.seeds import World

ODD = "a\x00b\ud83dc"


async def test_an_error_in_odd_words_ends_the_turn_in_these_words(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    async with database.begin() as session:
        await moves.finish_error(session, attempt.fence, {"message": "no", "detail": ODD, "retryable": False})
    chat, _, _ = await snapshot(database, chat_id)
    assert chats.error(chat["last_error"])["detail"] == "a\x00b\ufffdc"


async def test_a_retry_in_odd_words_is_recorded(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    async with database.begin() as session:
        reply = await moves.record_retry(session, attempt.fence, {"attempt": 1, "error": ODD}, 1.0)
    assert reply.then is Then.BACK_OFF


async def test_counts_and_ids_that_no_column_holds_cost_no_answer(database: Database, seed: World) -> None:
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    row = moves.StepRow(
        "assistant",
        [text("hello")],
        usage={"input_tokens": 2**70, "output_tokens": -5, "total_tokens": 7},
        provider_response_id=ODD,
    )
    async with database.begin() as session:
        await moves.commit_step(session, attempt.fence, [row])
    chat, messages, _ = await snapshot(database, chat_id)
    assert chat["status"] == "waiting"
    answer = messages[-1]
    assert (answer["input_tokens"], answer["output_tokens"], answer["total_tokens"]) == (2**63 - 1, None, 7)


async def test_the_end_of_a_back_off_is_told_by_the_databases_clock(database: Database, seed: World) -> None:
    """A worker whose clock runs ahead would else make the chat wait for that long after every nudge."""
    chat_id = await born(database, seed)
    attempt = await opened(database, chat_id)
    ahead = {"attempt": 1, "error": "x", "retrying_at": "2999-01-01T00:00:00Z"}
    async with database.begin() as session:
        await moves.record_retry(session, attempt.fence, ahead, 30.0)
    async with database.read() as session:
        stands = (await standing.of(session, [chat_id]))[chat_id]
    assert timedelta() < timedelta(seconds=stands.retry_seconds) <= timedelta(seconds=30)
