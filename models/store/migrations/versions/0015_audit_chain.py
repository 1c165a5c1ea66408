"""the audit log: where entries come from, their chain, and what its filters walk

Revision: 0015, after 0014, 2026-11-23 12:40:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None

NEWEST = (sa.text('time DESC'), sa.text('id DESC'))


def upgrade() -> None:
    for name in ('ip', 'user_agent'):
        op.add_column('audit_logs', sa.Column(name, sa.String(), server_default='', nullable=False))
    op.drop_index('ix_audit_logs_user_id', 'audit_logs')
    for column in ('user_id', 'organization_id', 'resource_target'):
        op.create_index(f'ix_audit_logs_{column}', 'audit_logs', [column, *NEWEST])
    op.create_index('ix_audit_logs_request_id', 'audit_logs', ['request_id'])
    op.create_index(
        'ix_audit_logs_resource_type',
        'audit_logs',
        ['resource_type', *NEWEST],
        postgresql_where=sa.text("resource_type <> 'chat'"),
    )
    op.create_index(
        'ix_audit_logs_action',
        'audit_logs',
        ['action', *NEWEST],
        postgresql_where=sa.text("action NOT IN ('create', 'write')"),
    )
    op.create_index(
        'ix_audit_logs_status_code',
        'audit_logs',
        ['status_code', *NEWEST],
        postgresql_where=sa.text('status_code NOT IN (200, 201, 204)'),
    )
    op.create_table(
        'audit_seals',
        sa.Column('position', sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column('entry_id', sa.Uuid(), nullable=False),
        sa.Column('hash', sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint('position', name=op.f('pk_audit_seals')),
    )
    op.create_index('ix_audit_seals_entry_id', 'audit_seals', ['entry_id'], unique=True)
    nothing = sa.text(r"'\x" + '00' * 32 + "'")
    op.create_table(
        'audit_mark',
        sa.Column('single', sa.Boolean(), server_default=sa.text('true'), nullable=False),
        sa.Column('position', sa.BigInteger(), server_default='0', nullable=False),
        sa.Column('hash', sa.LargeBinary(), server_default=nothing, nullable=False),
        sa.Column('time', sa.DateTime(timezone=True), server_default=sa.text("'2000-01-01 00:00:00+00'"), nullable=False),
        sa.Column('entry_id', sa.Uuid(), server_default=sa.text("'00000000-0000-0000-0000-000000000000'"), nullable=False),
        sa.Column('cut_position', sa.BigInteger(), server_default='0', nullable=False),
        sa.Column('cut_hash', sa.LargeBinary(), server_default=nothing, nullable=False),
        sa.CheckConstraint('single', name=op.f('ck_audit_mark_single')),
        sa.PrimaryKeyConstraint('single', name=op.f('pk_audit_mark')),
    )
    op.execute('INSERT INTO audit_mark DEFAULT VALUES')
