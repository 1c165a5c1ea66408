"""which messages are copies of others, paid for where they were first written

Revision: 0008, after 0007, 2026-11-23 04:40:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'chat_messages', sa.Column('copied', sa.Boolean(), server_default=sa.text('false'), nullable=False)
    )
