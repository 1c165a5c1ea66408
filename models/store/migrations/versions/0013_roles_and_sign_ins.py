"""roles that organizations make, service accounts, where sessions come from, and failed sign-ins

Revision: 0013, after 0012, 2026-11-23 12:30:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'custom_roles',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('organization_id', sa.Uuid(), nullable=False),
        sa.Column('name', sa.String(), nullable=False),
        sa.Column('display_name', sa.String(), server_default='', nullable=False),
        sa.Column('everywhere', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column('own', sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.ForeignKeyConstraint(
            ['organization_id'],
            ['organizations.id'],
            name=op.f('fk_custom_roles_organization_id_organizations'),
            ondelete='CASCADE',
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_custom_roles')),
    )
    op.create_index(
        'uq_custom_roles_organization_id_name_lower',
        'custom_roles',
        ['organization_id', sa.literal_column('lower(name)')],
        unique=True,
    )
    op.create_table(
        'sign_in_failures',
        sa.Column('key', sa.String(), nullable=False),
        sa.Column('failures', sa.Integer(), server_default='0', nullable=False),
        sa.Column('locked_until', sa.DateTime(timezone=True), nullable=True),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.PrimaryKeyConstraint('key', name=op.f('pk_sign_in_failures')),
    )
    op.create_index('ix_sign_in_failures_updated_at', 'sign_in_failures', ['updated_at'])
    for column in ('ip_address', 'user_agent'):
        op.add_column('api_keys', sa.Column(column, sa.String(), server_default='', nullable=False))
    op.add_column(
        'users', sa.Column('is_service_account', sa.Boolean(), server_default=sa.text('false'), nullable=False)
    )
    # Service accounts have no address.
    op.drop_index('uq_users_email_lower', 'users')
    op.create_index(
        'uq_users_email_lower',
        'users',
        [sa.literal_column('lower(email)')],
        unique=True,
        postgresql_where=sa.text("NOT deleted AND email <> ''"),
    )
