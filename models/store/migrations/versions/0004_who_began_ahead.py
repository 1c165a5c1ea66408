"""which worker opened the current attempt of a chat ahead of its run; fewer index entries a move

Revision: 0004, after 0003, 2026-11-23 01:00:00
"""

import sqlalchemy as sa
from alembic import op
revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('chats', sa.Column('begun_by', sa.Uuid(), nullable=True))
    op.drop_index('ix_chats_last_model_config_id', table_name='chats')
    for name, column in (('ix_chats_parent_chat_id', 'parent_chat_id'), ('ix_chats_root_chat_id', 'root_chat_id')):
        op.drop_index(name, table_name='chats')
        op.create_index(name, 'chats', [column], unique=False, postgresql_where=sa.text(f'{column} IS NOT NULL'))
    op.drop_index('ix_chats_labels', table_name='chats', postgresql_using='gin')
    op.create_index('ix_chats_labels', 'chats', ['labels'], unique=False, postgresql_using='gin', postgresql_where=sa.text("labels <> '{}'"))
