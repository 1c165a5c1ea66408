"""What the audit log tells of each route that changes something, by its handler's name.

`tests/contracts/test_audited.py` holds what is told by none of these, and why. A handler that knows more (what a chat
was before, say) records its entry itself; what it does not record is told from here, in the transaction that does it.
"""

from models.store.deeds import Kind

_SETTINGS = {
    "set_debug_logging": "debug-logging",
    "set_user_debug_logging": "user-debug-logging",
    "set_retention_days": "retention-days",
    "set_debug_retention_days": "debug-retention-days",
    "set_audit_retention_days": "audit-retention-days",
    "set_auto_archive_days": "auto-archive-days",
    "set_system_prompt": "system-prompt",
    "set_plan_mode_instructions": "plan-mode-instructions",
    "set_user_prompt": "user-prompt",
    "set_personal_model_overrides": "personal-model-overrides",
    "set_desktop_enabled": "desktop-enabled",
    "set_computer_use_provider": "computer-use-provider",
    "set_advisor": "advisor",
    "set_workspace_ttl": "workspace-ttl",
    "set_template_allowlist": "template-allowlist",
    "set_usage_limits": "usage-limits",
}

AUDITED: dict[str, Kind] = {
    **{name: Kind("write", "setting", about=setting) for name, setting in _SETTINGS.items()},
    "set_compaction_threshold": Kind("write", "user_compaction_threshold", "model_config"),
    "delete_compaction_threshold": Kind("delete", "user_compaction_threshold", "model_config"),
    "set_model_override": Kind("write", "model_override", "context"),
    "set_user_personal_model_override": Kind("write", "user_model_override", "context"),
    "create_model_config": Kind("create", "model_config"),
    "update_model_config": Kind("write", "model_config", "model_config"),
    "delete_model_config": Kind("delete", "model_config", "model_config"),
    "set_user_override": Kind("write", "user_spend_limit", "user"),
    "delete_user_override": Kind("delete", "user_spend_limit", "user"),
    "set_group_override": Kind("write", "group_spend_limit", "group"),
    "delete_group_override": Kind("delete", "group_spend_limit", "group"),
    "put_budget": Kind("write", "budget", "subject"),
    "delete_budget": Kind("delete", "budget", "subject"),
    "create_first_user": Kind("create", "user"),
    "logout": Kind("logout", "session"),
    "create_user": Kind("create", "user"),
    "delete_user": Kind("delete", "user", "user"),
    "set_user_roles": Kind("write", "user", "user"),
    "suspend_user": Kind("suspend", "user", "user"),
    "activate_user": Kind("activate", "user", "user"),
    "set_user_password": Kind("write", "user", "user"),
    "create_token": Kind("create", "api_key", "user"),
    "delete_token": Kind("delete", "api_key", "keyid"),
    "create_organization": Kind("create", "organization"),
    "add_member": Kind("create", "organization_member", "user"),
    "remove_member": Kind("delete", "organization_member", "user"),
    "set_member_roles": Kind("write", "organization_member", "user"),
    "create_group": Kind("create", "group"),
    "update_group": Kind("write", "group", "group"),
    "delete_group": Kind("delete", "group", "group"),
    "create_webhook": Kind("create", "webhook"),
    "update_webhook": Kind("write", "webhook", "webhook"),
    "delete_webhook": Kind("delete", "webhook", "webhook"),
    "rotate_secret": Kind("rotate", "webhook", "webhook"),
    "replay_delivery": Kind("replay", "webhook", "webhook"),
    "create_webpush_subscription": Kind("create", "webpush_subscription"),
    "delete_webpush_subscription": Kind("delete", "webpush_subscription"),
    "create_template": Kind("create", "template"),
    "update_template": Kind("write", "template", "template"),
    "delete_template": Kind("delete", "template", "template"),
    "create_template_version": Kind("create", "template_version"),
    "activate_template_version": Kind("activate", "template_version", "template"),
    "create_member_workspace": Kind("create", "workspace"),
    "create_user_workspace": Kind("create", "workspace"),
    "update_workspace": Kind("write", "workspace", "workspace"),
    "update_workspace_ttl": Kind("write", "workspace", "workspace"),
    "create_workspace_build": Kind("build", "workspace", "workspace"),
    "cancel_workspace_build": Kind("cancel", "workspace_build", "build"),
    "mcp_server_callback": Kind("connect", "mcp_server", "mcp_server"),
    "disconnect_mcp_server": Kind("disconnect", "mcp_server", "mcp_server"),
}
"""Handlers → what is told of them. Handlers that record their entries themselves are not here."""

CHANGING_GETS = frozenset({"oidc_callback", "mcp_server_callback"})
"""A browser comes back with these from another site, and something is written."""
