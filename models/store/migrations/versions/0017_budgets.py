"""budgets: what may be spent, what is, and what is reserved for the model calls under way

Revision: 0017, after 0016, 2026-11-23 12:30:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('budgets',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('organization_id', sa.Uuid(), nullable=False),
    sa.Column('scope', sa.String(), nullable=False),
    sa.Column('scope_id', sa.Uuid(), nullable=False),
    sa.Column('limit_micros', sa.BigInteger(), nullable=False),
    sa.Column('period', sa.String(), server_default='month', nullable=False),
    sa.Column('warn_percents', postgresql.ARRAY(sa.Integer()), server_default=sa.text("'{80,95}'"), nullable=False),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('limit_micros > 0', name=op.f('ck_budgets_limit_micros')),
    sa.CheckConstraint("period IN ('day', 'week', 'month', 'total')", name=op.f('ck_budgets_period')),
    sa.CheckConstraint("scope IN ('organization', 'group', 'user', 'chat')", name=op.f('ck_budgets_scope')),
    sa.ForeignKeyConstraint(['created_by'], ['users.id'], name=op.f('fk_budgets_created_by'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['organization_id'], ['organizations.id'], name=op.f('fk_budgets_organization_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_budgets')),
    sa.UniqueConstraint('organization_id', 'scope', 'scope_id', name='uq_budgets_organization_id_scope_scope_id')
    )
    op.create_index('ix_budgets_scope_id', 'budgets', ['scope_id'])
    op.create_table('budget_periods',
    sa.Column('budget_id', sa.Uuid(), nullable=False),
    sa.Column('starts_on', sa.Date(), nullable=False),
    sa.Column('settled_micros', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('reserved_micros', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('estimated_micros', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('overrun_micros', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('warned_percent', sa.Integer(), server_default='0', nullable=False),
    sa.CheckConstraint('reserved_micros >= 0', name=op.f('ck_budget_periods_reserved_micros')),
    sa.CheckConstraint('settled_micros >= 0', name=op.f('ck_budget_periods_settled_micros')),
    sa.ForeignKeyConstraint(['budget_id'], ['budgets.id'], name=op.f('fk_budget_periods_budget_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('budget_id', 'starts_on', name=op.f('pk_budget_periods'))
    )
    op.create_table('budget_reservations',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('chat_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('history_version', sa.BigInteger(), nullable=False),
    sa.Column('generation_attempt', sa.Integer(), nullable=False),
    sa.Column('amount_micros', sa.BigInteger(), nullable=False),
    sa.Column('prompt_micros', sa.BigInteger(), nullable=False),
    sa.Column('output_price', sa.Numeric(), nullable=False),
    sa.Column('budget_ids', postgresql.ARRAY(sa.Uuid()), nullable=False),
    sa.Column('starts_on', postgresql.ARRAY(sa.Date()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("kind IN ('step', 'compaction', 'aside')", name=op.f('ck_budget_reservations_kind')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_budget_reservations'))
    )
    op.create_index('ix_budget_reservations_chat_id', 'budget_reservations', ['chat_id'])
    op.create_index('ix_budget_reservations_created_at', 'budget_reservations', ['created_at'])
    # What a chat of before has cost is added up when it next costs something: null is not known yet.
    op.add_column('chats', sa.Column('spent_micros', sa.BigInteger(), nullable=True))
    op.alter_column('chats', 'spent_micros', server_default='0')
