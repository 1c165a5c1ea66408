"""whose keys a provider's models may be called with

Revision: 0012, after 0011, 2026-11-23 12:30:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ('central_api_key_enabled', 'allow_user_api_key', 'allow_central_api_key_fallback'):
        op.add_column('ai_providers', sa.Column(name, sa.Boolean(), server_default=sa.text('true'), nullable=False))
    op.create_check_constraint(
        op.f('ck_ai_providers_policy'), 'ai_providers', 'central_api_key_enabled OR allow_user_api_key'
    )
    op.create_check_constraint(
        op.f('ck_ai_providers_fallback'),
        'ai_providers',
        'NOT allow_central_api_key_fallback OR (central_api_key_enabled AND allow_user_api_key)',
    )
