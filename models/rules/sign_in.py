"""What a provider's claims make of a person: who they are, and what they may belong to. Nothing here is asked twice."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import Forbidden
from models.principal import OrgRole, SiteRole
from models.settings import Settings

MOST_VALUES = 1000  # of one claim that are looked at
LONGEST_USERNAME, LONGEST_GROUP = 32, 36
# Paths under /api/v2/users that a username would hide behind.
RESERVED = frozenset({"me", "default", "first", "login", "logout", "authmethods", "oidc", "roles", "validate-password"})
HOME = "/"
# A browser reads "//host" and "/\\host" as another site, and drops tabs and line ends before it reads.
_LOCAL = re.compile(r"/(?![/\\])[^\x00-\x20\x7f\\]*")
_ADDRESS = re.compile(r"[^@\s\x00]+@[^@\s\x00]+")


class Refused(Forbidden):
    """The provider knows them, and we do not let them in; `user_id` where we know whom it is about."""

    default_message = "You cannot sign in."

    def __init__(self, message: str, detail: str = "", user_id: Any = None) -> None:
        self.user_id = user_id
        super().__init__(message, detail)


@dataclass(frozen=True, slots=True)
class Identity:
    """A person as a provider describes them. `verified` means that the provider has seen them read mail at `email`."""

    issuer: str
    subject: str
    email: str
    verified: bool
    name: str
    username: str


@dataclass(frozen=True, slots=True)
class Access:
    """What the claims grant; None is what the claims have no say in.

    `organizations` are names, `groups` pairs of an organization's and a group's name, of those in `group_homes`.
    `unknown_roles` are mapped to and grant nothing.
    """

    site_roles: frozenset[str] | None
    org_roles: frozenset[str] | None
    organizations: frozenset[str] | None
    groups: frozenset[tuple[str, str]] | None
    group_homes: frozenset[str] = frozenset()
    unknown_roles: frozenset[str] = frozenset()


def identity(issuer: str, claims: Mapping[str, Any], settings: Settings) -> Identity:
    """Who signs in; raises Refused for an address that is missing, not verified or of a domain that may not."""
    email = _text(claim(claims, settings.oidc_email_claim))
    if not _ADDRESS.fullmatch(email) or len(email) > 254:
        raise Refused(
            "No email address found.", f'The provider gave no address in the claim "{settings.oidc_email_claim}".'
        )
    # It is said of the claim `email`, and of no other that an operator may choose. Some write booleans as text.
    verified = settings.oidc_email_claim == "email" and str(claims.get("email_verified", "")).lower() == "true"
    if settings.oidc_require_verified_email and not verified:
        raise Refused("Verify your email address.", f"The provider has not verified the address {email}.")
    allowed = {each.lower().lstrip("@") for each in settings.oidc_email_domains}
    if allowed and email.lower().rpartition("@")[2] not in allowed:
        raise Refused("Your email address may not sign in.", f"{email} is not in one of the allowed domains.")
    username = _text(claim(claims, settings.oidc_username_claim)).partition("@")[0] or email.partition("@")[0]
    return Identity(
        issuer=issuer,
        subject=str(claims["sub"]),
        email=email,
        verified=verified,
        name=_text(claim(claims, settings.oidc_name_claim))[:256],
        username=username_of(username),
    )


def access(claims: Mapping[str, Any], settings: Settings) -> Access:
    """What the claims grant by the operator's mappings: a role or an organization that is not mapped is not granted."""
    site_roles = org_roles = organizations = None
    unknown: frozenset[str] = frozenset()
    if settings.oidc_roles_claim:
        values = _values(claims, settings.oidc_roles_claim)
        granted = {role for value in values for role in settings.oidc_role_mapping.get(value, ())}
        site_roles = frozenset(role for role in granted if role in set(SiteRole))
        org_roles = frozenset(role for role in granted if role in set(OrgRole))
        unknown = frozenset(granted - site_roles - org_roles)
    if settings.oidc_organizations_claim:
        values = _values(claims, settings.oidc_organizations_claim)
        mapped = {settings.oidc_organization_mapping.get(value, "") for value in values}
        organizations = frozenset({*mapped, settings.oidc_organization} - {""})
    return Access(site_roles, org_roles, organizations, *_groups(claims, settings), unknown)


def _groups(claims: Mapping[str, Any], settings: Settings) -> tuple[frozenset[tuple[str, str]] | None, frozenset[str]]:
    if not settings.oidc_groups_claim:
        return None, frozenset()
    mapping = {value: _place(group, settings) for value, group in settings.oidc_group_mapping.items()}
    places = {
        # Keycloak writes groups as paths.
        mapping.get(value) or (settings.oidc_organization, value.removeprefix("/")[:LONGEST_GROUP].strip())
        for value in _values(claims, settings.oidc_groups_claim)
    }
    homes = {settings.oidc_organization, *(home for home, _ in mapping.values())} - {""}
    # Everyone has its members by itself.
    wanted = {place for place in places if all(place) and place[1].lower() != "everyone"}
    return frozenset(wanted), frozenset(homes)


def _place(group: str, settings: Settings) -> tuple[str, str]:
    home, _, name = group.rpartition("/")
    return home or settings.oidc_organization, name


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name; else the one that its dots lead to (`realm_access.roles`); None without one."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found


def local_path(path: str) -> str:
    """Where a browser is sent afterwards: the path if it is one of this site, HOME for any other."""
    return path if len(path) <= 2000 and path.isascii() and _LOCAL.fullmatch(path) else HOME


def username_of(text: str) -> str:
    """The nearest username that our rules allow: letters, digits and single hyphens between them."""
    word = re.sub(r"[^a-zA-Z0-9]+", "-", text)[:LONGEST_USERNAME].strip("-")
    return f"{word}-1" if word.lower() in RESERVED else word or "user"


def _text(value: Any) -> str:
    # Neither NUL nor half a character can be stored.
    return value.encode(errors="replace").decode().replace("\x00", "").strip() if isinstance(value, str) else ""


def _values(claims: Mapping[str, Any], path: str) -> list[str]:
    found = claim(claims, path)
    values = found if isinstance(found, list) else [found]
    return [text for text in map(_text, values[:MOST_VALUES]) if text]
