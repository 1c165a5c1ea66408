"""slots of running turns: who waits for one, and whose turn it is

Revision: 0016, after 0015, 2026-11-23 12:30:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('capacity_shares',
    sa.Column('organization_id', sa.Uuid(), nullable=False),
    sa.Column('owner_id', sa.Uuid(), nullable=False),
    sa.Column('served_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['organization_id'], ['organizations.id'], name=op.f('fk_capacity_shares_organization_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['owner_id'], ['users.id'], name=op.f('fk_capacity_shares_owner_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('organization_id', 'owner_id', name=op.f('pk_capacity_shares'))
    )
    op.add_column('chats', sa.Column('capacity_queued_at', sa.DateTime(timezone=True), nullable=True))
    op.create_index('ix_chats_running', 'chats', ['organization_id', 'owner_id'], postgresql_where=sa.text("status = 'running' AND parent_chat_id IS NULL"))
    op.create_index('ix_chats_capacity', 'chats', ['organization_id', 'owner_id', 'capacity_queued_at'], postgresql_where=sa.text('capacity_queued_at IS NOT NULL'))
