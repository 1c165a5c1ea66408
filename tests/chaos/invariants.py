"""What must hold in the database whatever was killed: reference invariants I1–I20, as far as rows can tell."""

from typing import Any

from tests.chaos.stack import Stack

# Each query finds the rows that break the law its name states.
LAWS = {
    "a waiting chat has no queue (I8)": """
        SELECT id FROM chats WHERE status = 'waiting' AND NOT archived
           AND EXISTS (SELECT FROM chat_queued_messages q WHERE q.chat_id = chats.id)""",
    "an archived chat does not run (I8)": """
        SELECT id FROM chats WHERE archived AND status IN ('pending', 'running', 'requires_action')""",
    "an error is kept in error states only (I16)": """
        SELECT id FROM chats WHERE (last_error IS NOT NULL) <> (status = 'error')""",
    "a retry is kept between two attempts only (I16)": """
        SELECT id FROM chats WHERE retry_state IS NOT NULL AND status NOT IN ('pending', 'running')""",
    "a deadline is kept while a client is asked only (I16)": """
        SELECT id FROM chats WHERE (requires_action_deadline_at IS NOT NULL) <> (status = 'requires_action')""",
    "no version is ahead of the snapshot (I1)": """
        SELECT id FROM chats WHERE snapshot_version < greatest(history_version, queue_version, retry_state_version)""",
    "no message is newer than its chat's history (I1)": """
        SELECT m.id FROM chat_messages m JOIN chats c ON c.id = m.chat_id WHERE m.revision > c.history_version""",
    "messages are in the order of their ids (I1)": """
        SELECT id FROM (SELECT id, revision, lag(revision) OVER (PARTITION BY chat_id ORDER BY id) AS before
                          FROM chat_messages WHERE NOT deleted) AS ordered WHERE revision < before""",
    "a queued message enters the history once (I7)": """
        SELECT queued_message_id FROM chat_messages WHERE queued_message_id IS NOT NULL
         GROUP BY queued_message_id HAVING count(*) > 1""",
    "a message is not both queued and in the history (I7)": """
        SELECT q.id FROM chat_queued_messages q JOIN chat_messages m ON m.queued_message_id = q.id""",
    "the queue is first in, first out (I7)": """
        SELECT id FROM (SELECT id, queued_message_id, lag(queued_message_id) OVER (PARTITION BY chat_id ORDER BY id)
                            AS before
                          FROM chat_messages WHERE queued_message_id IS NOT NULL AND NOT deleted) AS ordered
         WHERE queued_message_id < before""",
    "a call has exactly one result once the chat rests (I3)": """
        SELECT m.id, part->>'tool_call_id' AS call
          FROM chat_messages m JOIN chats c ON c.id = m.chat_id, jsonb_array_elements(m.content) AS part
         WHERE m.role = 'assistant' AND NOT m.deleted AND part->>'type' = 'tool-call'
           AND c.status IN ('waiting', 'error')
           AND (SELECT count(*) FROM chat_messages r, jsonb_array_elements(r.content) AS result
                 WHERE r.chat_id = m.chat_id AND r.id > m.id AND NOT r.deleted AND r.role = 'tool'
                   AND result->>'tool_call_id' = part->>'tool_call_id'
                   AND r.id < coalesce((SELECT min(u.id) FROM chat_messages u WHERE u.chat_id = m.chat_id
                                         AND u.id > m.id AND u.role <> 'tool' AND NOT u.deleted), r.id + 1)) <> 1""",
    "a client is asked for something, and for nothing of ours (I3)": """
        SELECT c.id FROM chats c WHERE c.status = 'requires_action' AND (
            SELECT count(*) = 0 OR NOT bool_and(coalesce((part->'provider_metadata'->'dynamic')::bool, false))
              FROM chat_messages m, jsonb_array_elements(m.content) AS part
             WHERE m.chat_id = c.id AND NOT m.deleted AND m.role = 'assistant' AND part->>'type' = 'tool-call'
               AND part->>'provider_executed' IS DISTINCT FROM 'true'
               AND m.id = (SELECT max(a.id) FROM chat_messages a
                            WHERE a.chat_id = c.id AND NOT a.deleted AND a.role = 'assistant')
               AND NOT EXISTS (SELECT FROM chat_messages r, jsonb_array_elements(r.content) AS result
                                WHERE r.chat_id = c.id AND r.id > m.id AND NOT r.deleted
                                  AND result->>'tool_call_id' = part->>'tool_call_id'))""",
    "a plain step is answered once (I9)": """
        SELECT id FROM (SELECT id, role, content, lag(role) OVER (PARTITION BY chat_id ORDER BY id) AS before
                          FROM chat_messages WHERE NOT deleted AND NOT compressed AND visibility <> 'model') AS ordered
         WHERE role = 'assistant' AND before = 'assistant'""",
    "a summary is shown with its call and its result, once": """
        SELECT chat_id, revision FROM chat_messages WHERE compressed AND NOT deleted GROUP BY chat_id, revision
        HAVING string_agg(role || '/' || visibility, ' ' ORDER BY id) <> 'user/model assistant/user tool/both'""",
    "what is void was edited away, or is a title's price": """
        SELECT d.id FROM chat_messages d
         WHERE d.deleted AND NOT (d.role = 'assistant' AND d.visibility = 'model') AND NOT EXISTS
               (SELECT FROM chat_messages u WHERE u.chat_id = d.chat_id AND u.role = 'user' AND u.id > d.id)""",
}
VERSIONS = """SELECT id::text, snapshot_version, history_version, queue_version, retry_state_version FROM chats"""


class Invariants:
    """Checks the laws after every test, and that no version ever went back since the last look."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[str, Any]] = {}

    async def check(self, stack: Stack) -> None:
        """Raise AssertionError with the laws that are broken, and by which rows."""
        broken = {law: rows for law, sql in LAWS.items() if (rows := await stack.query(sql))}
        assert not broken, broken
        now = {row.pop("id"): row for row in await stack.query(VERSIONS)}
        for chat_id, before in self._versions.items():
            after = now.get(chat_id)
            assert after is not None, f"chat {chat_id} is gone"
            backwards = {name: (value, after[name]) for name, value in before.items() if after[name] < value}
            assert not backwards, f"chat {chat_id} went back: {backwards}"
        self._versions = now
