"""the audit log is found by the address that a request came from

Revision: 0019, after 0018, 2026-11-23 15:50:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        'ix_audit_logs_ip',
        'audit_logs',
        ['ip', sa.text('time DESC'), sa.text('id DESC')],
        postgresql_where=sa.text("ip <> ''"),
    )
