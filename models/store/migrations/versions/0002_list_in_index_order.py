"""a page of the chat list is read in the index's order, instead of sorting all chats of its owner

Revision: 0002, after 0001, 2026-11-22 20:00:00
"""

import sqlalchemy as sa
from alembic import op
revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index('ix_chats_owner_list', table_name='chats')
    op.create_index('ix_chats_owner_list', 'chats', ['owner_id', 'archived', sa.literal_column('(pin_order > 0) DESC'), sa.literal_column('(-pin_order) DESC'), sa.literal_column('updated_at DESC'), sa.literal_column('id DESC')], unique=False, postgresql_where=sa.text('parent_chat_id IS NULL'))
