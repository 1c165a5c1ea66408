"""What a browser says of itself to be told by web push."""

from pydantic import BaseModel, ConfigDict, Field

from api.requests import Body

_ENDPOINT = "https://push.example.com/send/abc"
_POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"


class WebpushSubscription(Body):
    """What the browser's `PushManager.subscribe` gave."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["endpoint", "auth_key", "p256dh_key"],
            "examples": [
                {
                    "endpoint": _ENDPOINT,
                    "auth_key": "BTBZMqHH6r4Tts7J_aSIgg",
                    "p256dh_key": _POINT,
                }
            ],
        }
    )

    endpoint: str = Field(default="", description="https; a secret, which is never shown again.")
    auth_key: str = Field(default="", description="16 bytes in base64url.")
    p256dh_key: str = Field(default="", description="An uncompressed P-256 point in base64url.")


class DeleteWebpushSubscription(Body):
    """Which browser shall be told no more."""

    model_config = ConfigDict(json_schema_extra={"required": ["endpoint"], "examples": [{"endpoint": _ENDPOINT}]})

    endpoint: str = ""


class WebpushPublicKey(BaseModel):
    """What browsers pass to `PushManager.subscribe` as `applicationServerKey`."""

    public_key: str = Field(description="An uncompressed P-256 point in base64url.")
