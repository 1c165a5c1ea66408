"""which worker opened the current attempt of a chat ahead of its run

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
