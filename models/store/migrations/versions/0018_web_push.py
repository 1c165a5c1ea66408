"""web push: the key to sign with, browsers that want to be told, and what is on its way to them

Revision: 0018, after 0017, 2026-11-23 15:30:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('webpush_keys',
    sa.Column('single', sa.Boolean(), server_default=sa.text('true'), nullable=False),
    sa.Column('public_key', sa.String(), nullable=False),
    sa.Column('private_key', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('single', name=op.f('ck_webpush_keys_single')),
    sa.PrimaryKeyConstraint('single', name=op.f('pk_webpush_keys'))
    )
    op.create_table('webpush_subscriptions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('user_id', sa.Uuid(), nullable=False),
    sa.Column('endpoint_digest', sa.String(), nullable=False),
    sa.Column('endpoint', sa.String(), nullable=False),
    sa.Column('p256dh_key', sa.String(), nullable=False),
    sa.Column('auth_key', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_webpush_subscriptions_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webpush_subscriptions')),
    sa.UniqueConstraint('endpoint_digest', name=op.f('uq_webpush_subscriptions_endpoint_digest'))
    )
    op.create_index('ix_webpush_subscriptions_user_id', 'webpush_subscriptions', ['user_id'])
    op.create_table('webpush_deliveries',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('subscription_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('subject_id', sa.Uuid(), nullable=True),
    sa.Column('history_version', sa.BigInteger(), nullable=True),
    sa.Column('attempts', sa.Integer(), server_default='0', nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("kind IN ('finished', 'failed', 'action', 'notice', 'test')", name=op.f('ck_webpush_deliveries_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webpush_deliveries'))
    )
    op.create_index('ix_webpush_deliveries_due_at', 'webpush_deliveries', ['due_at'])
