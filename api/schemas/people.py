"""Users, tokens and organizations as clients send and see them."""

import re
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from api.requests import Body
from models.principal import OrgRole, Scope, SiteRole
from models.rules.sign_in import RESERVED

WORD = re.compile(r"[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*")
EMAIL = re.compile(r"[^@\s\x00]+@[^@\s\x00]+")

SITE_ROLE_NAMES = {
    SiteRole.OWNER: "Owner",
    SiteRole.AUDITOR: "Auditor",
    SiteRole.USER_ADMIN: "User Admin",
    SiteRole.TEMPLATE_ADMIN: "Template Admin",
}
ORG_ROLE_NAMES = {
    OrgRole.ADMIN: "Organization Admin",
    OrgRole.AUDITOR: "Organization Auditor",
    OrgRole.USER_ADMIN: "Organization User Admin",
    OrgRole.TEMPLATE_ADMIN: "Organization Template Admin",
    OrgRole.AGENTS_ACCESS: "Agents Access",
}


def _word(value: str) -> str:
    if not WORD.fullmatch(value) or value.lower() in RESERVED:
        raise ValueError("must be letters, digits and single hyphens between them, and no reserved word")
    return value


def _email(value: str) -> str:
    if not EMAIL.fullmatch(value):
        raise ValueError("must be an email address")
    return value


def _clean(value: str) -> str:
    """Postgres cannot hold NUL in text; nobody types one on purpose."""
    return value.replace("\x00", "")


Username = Annotated[str, StringConstraints(min_length=1, max_length=32), AfterValidator(_word)]
OrganizationName = Annotated[str, StringConstraints(min_length=1, max_length=36), AfterValidator(_word)]
Email = Annotated[str, StringConstraints(max_length=254), AfterValidator(_email)]
Password = Annotated[str, StringConstraints(min_length=8, max_length=1024)]
Line = Annotated[str, StringConstraints(max_length=256), AfterValidator(_clean)]
Paragraph = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_clean)]


class Message(BaseModel):
    message: str


class RoleView(BaseModel):
    """A role that somebody has."""

    name: str
    display_name: str
    organization_id: UUID | None = None


class UserView(BaseModel):
    """A person, as their admins and they themselves see them."""

    id: UUID
    username: str
    name: str
    email: str
    avatar_url: str
    created_at: datetime
    updated_at: datetime
    last_seen_at: datetime
    status: str = Field(description="active, suspended, or dormant: not seen yet", examples=["active"])
    login_type: str = Field(description="password; oidc; or none: API tokens only", examples=["password"])
    is_service_account: bool
    organization_ids: list[UUID]
    roles: list[RoleView]


class UsersView(BaseModel):
    users: list[UserView]
    count: int


class CreateFirstUser(Body):
    """The owner of a new deployment."""

    email: Email = Field(examples=["ada@example.com"])
    username: Username = Field(examples=["ada"])
    name: Line = ""
    password: Password


class FirstUserView(BaseModel):
    user_id: UUID
    organization_id: UUID


class Login(Body):
    email: Annotated[str, StringConstraints(max_length=254)] = Field(examples=["ada@example.com"])
    password: Annotated[str, StringConstraints(max_length=1024)]


class LoginView(BaseModel):
    session_token: str


class PasswordMethod(BaseModel):
    enabled: bool


class GithubMethod(BaseModel):
    enabled: bool
    default_provider_configured: bool


class OidcMethod(BaseModel):
    """Its keys are not spelled as others are: clients know them so."""

    enabled: bool
    signInText: str = Field(examples=["OpenID Connect"])  # noqa: N815
    iconUrl: str  # noqa: N815


class AuthMethods(BaseModel):
    """How people may sign in here."""

    terms_of_service_url: str = Field(default="", description="always empty")
    password: PasswordMethod
    github: GithubMethod = Field(description="never enabled")
    oidc: OidcMethod


class CreateUser(Body):
    """A new user. Without a password they come in by API tokens only (`none`), as service accounts do, or sign in
    elsewhere (`oidc`)."""

    email: Email | None = Field(
        default=None, description="needed, but for service accounts, which have none", examples=["bob@example.com"]
    )
    username: Username = Field(examples=["bob"])
    name: Line = ""
    password: Password | None = None
    login_type: str = Field(default="", description="password (the default), oidc or none", examples=["password"])
    organization_ids: list[UUID] = Field(default_factory=list, max_length=100)
    user_status: Literal["active", "dormant"] = Field(
        default="active", description="dormant until they are seen for the first time"
    )
    service_account: bool = Field(default=False, description="a program's account: it has API tokens only")


class SetRoles(Body):
    roles: list[str] = Field(max_length=20, examples=[["agents-access"]])


class SetLoginType(Body):
    login_type: Literal["oidc"]


class SetPassword(Body):
    password: Password
    old_password: str = Field(default="", max_length=1024, description="needed to change one's own")


class ValidatePassword(Body):
    password: str = Field(max_length=1024)


class PasswordJudgement(BaseModel):
    """Is it good enough, and if not, why?"""

    valid: bool
    details: str


class SessionView(BaseModel):
    """A login session, and where it was begun."""

    id: str
    user_id: UUID
    current: bool = Field(description="the one that asks")
    ip_address: str = Field(examples=["203.0.113.7"])
    user_agent: str
    created_at: datetime
    expires_at: datetime
    last_used: datetime


class CreateToken(Body):
    """An API token. Without scopes it may do all that its user may."""

    lifetime: int | None = Field(
        default=None, description="nanoseconds; 30 days unless given", examples=[3_600_000_000_000]
    )
    token_name: Line = Field(default="", examples=["ci"])
    scopes: list[Scope] = Field(default_factory=list, max_length=20, examples=[["chat:read"]])


class CreatedToken(BaseModel):
    """The token itself: shown now and never again."""

    key: str


class TokenView(BaseModel):
    """A token without its secret."""

    id: str
    user_id: UUID
    token_name: str
    scopes: list[str]
    lifetime_seconds: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    last_used: datetime


class OrganizationView(BaseModel):
    id: UUID
    name: str
    display_name: str
    description: str
    icon: str
    is_default: bool
    created_at: datetime
    updated_at: datetime


class CreateOrganization(Body):
    name: OrganizationName = Field(examples=["acme"])
    display_name: Line = Field(default="", examples=["Acme"])
    description: Paragraph = ""
    icon: Line = ""


class MemberView(BaseModel):
    """A membership, and whose it is."""

    user_id: UUID
    organization_id: UUID
    username: str
    name: str
    email: str
    avatar_url: str
    roles: list[RoleView]
    global_roles: list[RoleView]
    created_at: datetime
    updated_at: datetime
