"""the words of messages, to be searched; who may find what others share, and what failed

Revision: 0006, after 0005, 2026-11-23 04:50:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Filled by the sweep, so that this takes no longer on a deployment that is old.
    op.create_table(
        "chat_message_words",
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chat_id", sa.Uuid(), nullable=False),
        sa.Column("words", postgresql.TSVECTOR(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_chat_message_words")),
    )
    op.create_index(
        "ix_chat_message_words_words",
        "chat_message_words",
        ["words"],
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": 512},
    )
    op.create_table(
        "chat_message_words_mark",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("message_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("candidate_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("candidate_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("single", name=op.f("ck_chat_message_words_mark_single")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_chat_message_words_mark")),
    )
    op.execute("INSERT INTO chat_message_words_mark DEFAULT VALUES")
    for column in ("user_acl", "group_acl"):
        op.create_index(
            f"ix_chats_{column}",
            "chats",
            [column],
            postgresql_using="gin",
            postgresql_where=sa.text(f"{column} <> '{{}}'"),
        )
    op.create_index("ix_chats_failed", "chats", ["owner_id"], postgresql_where=sa.text("status = 'error'"))
