"""outbound webhooks: endpoints, and what is delivered to them

Revision: 0009, after 0008, 2026-11-23 05:00:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'webhook_endpoints',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=True),
        sa.Column('organization_id', sa.Uuid(), nullable=True),
        sa.Column('created_by', sa.Uuid(), nullable=False),
        sa.Column('url', sa.String(), nullable=False),
        sa.Column('description', sa.String(), server_default='', nullable=False),
        sa.Column('events', postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column('secret', sa.String(), nullable=False),
        sa.Column('previous_secret', sa.String(), nullable=True),
        sa.Column('previous_until', sa.DateTime(timezone=True), nullable=True),
        sa.Column('enabled', sa.Boolean(), server_default=sa.text('true'), nullable=False),
        sa.Column('disabled_reason', sa.String(), server_default='', nullable=False),
        sa.Column('failing_since', sa.DateTime(timezone=True), nullable=True),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint(
            '(user_id IS NULL) <> (organization_id IS NULL)', name=op.f('ck_webhook_endpoints_holder')
        ),
        sa.ForeignKeyConstraint(
            ['user_id'], ['users.id'], name=op.f('fk_webhook_endpoints_user_id_users'), ondelete='CASCADE'
        ),
        sa.ForeignKeyConstraint(
            ['organization_id'],
            ['organizations.id'],
            name=op.f('fk_webhook_endpoints_organization_id_organizations'),
            ondelete='CASCADE',
        ),
        sa.ForeignKeyConstraint(
            ['created_by'], ['users.id'], name=op.f('fk_webhook_endpoints_created_by_users'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_endpoints')),
    )
    for column in ('user_id', 'organization_id'):
        op.create_index(
            f'ix_webhook_endpoints_{column}',
            'webhook_endpoints',
            [column],
            postgresql_where=sa.text(f'{column} IS NOT NULL'),
        )
    op.create_table(
        'webhook_deliveries',
        sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column('endpoint_id', sa.Uuid(), nullable=False),
        sa.Column('event', sa.String(), nullable=False),
        sa.Column('chat_id', sa.Uuid(), nullable=True),
        sa.Column('data', postgresql.JSONB(), server_default='{}', nullable=False),
        sa.Column('status', sa.String(), server_default='pending', nullable=False),
        sa.Column('attempts', sa.Integer(), server_default='0', nullable=False),
        sa.Column('due_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('status_code', sa.Integer(), nullable=True),
        sa.Column('error', sa.String(), server_default='', nullable=False),
        sa.Column('response', sa.String(), server_default='', nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name=op.f('ck_webhook_deliveries_status')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_deliveries')),
    )
    op.create_index(
        'ix_webhook_deliveries_endpoint_id', 'webhook_deliveries', ['endpoint_id', sa.text('id DESC')]
    )
    op.create_index(
        'ix_webhook_deliveries_due_at',
        'webhook_deliveries',
        ['due_at'],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index('ix_webhook_deliveries_created_at', 'webhook_deliveries', ['created_at'])
