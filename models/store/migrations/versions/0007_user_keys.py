"""people's own keys of AI providers

Revision: 0007, after 0006, 2026-11-23 04:50:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'user_ai_provider_keys',
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('ai_provider_id', sa.Uuid(), nullable=False),
        sa.Column('api_key', sa.String(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(
            ['ai_provider_id'],
            ['ai_providers.id'],
            name=op.f('fk_user_ai_provider_keys_ai_provider_id'),
            ondelete='CASCADE',
        ),
        sa.ForeignKeyConstraint(
            ['user_id'], ['users.id'], name=op.f('fk_user_ai_provider_keys_user_id'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('user_id', 'ai_provider_id', name=op.f('pk_user_ai_provider_keys')),
    )
    op.create_index('ix_user_ai_provider_keys_ai_provider_id', 'user_ai_provider_keys', ['ai_provider_id'])
