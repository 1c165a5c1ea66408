"""For tests that need a virtual display, which not every machine has."""

import shutil

import pytest


def needs_display(*more: str) -> pytest.MarkDecorator:
    """Skip where Xvfb, a tool that reads what is pressed, or one of these programs is missing."""
    missing = [name for name in ("Xvfb", "xinput", "xdotool", *more) if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} missing: `make desktop` installs them")
