"""The rows that a model is to see of its chat; of many pictures of a desktop only the newest come with what they show.

A picture is some 100 kB, and every step reads the transcript: with all of them a long session would move megabytes for
each click. Which of these are shown is rules/screenshots' to say, and it shows fewer than are read here.
"""

from models.rules.computer import MODE, TOOL

PICTURES = 16  # results, the newest, whose pictures are read

# All columns of the row but the content: a star would read that twice.
COLUMNS = (
    "id", "chat_id", "role", "content_version", "visibility", "compressed", "deleted", "copied", "revision",
    "created_by", "model_config_id", "queued_message_id", "input_tokens", "output_tokens", "total_tokens",
    "reasoning_tokens", "cache_creation_tokens", "cache_read_tokens", "context_limit", "total_cost_micros",
    "runtime_ms", "provider_response_id", "created_at",
)  # fmt: skip

# The subqueries are asked only where they are needed: in no other chat than one at a desktop is any result looked into.
# `+ 0`: sorted are the chat's own rows; an index of all chats' messages would be walked from its end.
_CONTENT = f"""
    CASE WHEN role = 'tool' AND (SELECT coalesce(mode, '') FROM chats WHERE id = %(id)s) = '{MODE}'
        AND id <= (SELECT id FROM chat_messages WHERE chat_id = %(id)s AND role = 'tool' AND NOT deleted
                   ORDER BY id + 0 DESC OFFSET {PICTURES} LIMIT 1)
        AND content -> 0 ->> 'tool_name' = '{TOOL}'
    THEN content #- '{{0,result,data}}' ELSE content END AS content"""  # noqa: S608 - fixed text

# The result that shows people a summary is not there either: the model was never told of its call.
PROMPT = f"""
SELECT {", ".join(COLUMNS)}, {_CONTENT} FROM chat_messages
WHERE chat_id = %(id)s AND NOT deleted AND visibility <> 'user' AND NOT (compressed AND role = 'tool')
    AND (role = 'system' OR id >= coalesce(
    (SELECT id FROM chat_messages
     WHERE chat_id = %(id)s AND compressed AND visibility = 'model' AND NOT deleted ORDER BY id DESC LIMIT 1), 0))
ORDER BY id"""  # noqa: S608 - fixed text
