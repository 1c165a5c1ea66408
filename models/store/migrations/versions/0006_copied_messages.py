"""which messages are copies of others, paid for where they were first written

Revision: 0006, after 0005, 2026-11-23 04:40:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        'chat_messages', sa.Column('copied', sa.Boolean(), server_default=sa.text('false'), nullable=False)
    )
