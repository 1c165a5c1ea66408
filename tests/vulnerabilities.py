"""Ask for known vulnerabilities of what requirements.lock pins: `python -m tests.vulnerabilities <environment>`.

pip-audit gets an environment of its own, made on demand: it shall not meet our dependencies. Where nobody can be asked
that is said, and is no failure; what is found is one.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
PIP_AUDIT = "pip-audit>=2.9,<3"
PATIENCE = 180.0  # seconds for each of its errands


def judged(said: str, errors: str) -> tuple[int, str]:
    """The exit code, and what to say, of a report of pip-audit; without one nobody could be asked."""
    try:
        each: list[dict[str, Any]] = json.loads(said)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return 0, f"Known vulnerabilities could not be asked for: {errors.strip()[-300:] or 'pip-audit said nothing'}"
    asked = [one for one in each if "skip_reason" not in one]
    found = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no release'}"
        for one in asked
        for flaw in one["vulns"]
    ]
    if found:
        return 1, "\n".join(found)
    if not asked:
        return 0, "Known vulnerabilities could not be asked for: the index knows none of the packages"
    unknown = f"; {len(each) - len(asked)} could not be asked for" if len(each) > len(asked) else ""
    return 0, f"No known vulnerability in {len(asked)} packages{unknown}"


def main(place: Path) -> int:
    """Ask, and say what came of it."""
    program = place / "bin" / "pip-audit"
    try:
        if not program.exists():
            venv.create(place, with_pip=True, clear=True)
            install = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", PIP_AUDIT]
            subprocess.run(install, check=True, capture_output=True, text=True, timeout=PATIENCE)
        asking = [str(program), "--format", "json", "--progress-spinner", "off", "--vulnerability-service", "pypi"]
        asking += ["--require-hashes", "--disable-pip", "--requirement", str(LOCK)]
        done = subprocess.run(asking, check=False, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.SubprocessError) as unable:
        print(f"Known vulnerabilities could not be asked for: {unable}")
        return 0
    code, said = judged(done.stdout, done.stderr)
    print(said)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
