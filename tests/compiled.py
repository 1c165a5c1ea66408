"""`python -m tests.compiled`: compile our modules and tests once, as pytest would in each of its processes.

Rewriting the assertions of all tests takes as long as importing litellm. Also where PYTHONDONTWRITEBYTECODE is set:
what is written is beside the sources, ignored by git, and not read once they are others.
"""

import compileall
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

from _pytest.assertion.rewrite import PYC_TAIL, _read_pyc, _rewrite_test, _write_pyc, get_cache_dir

ROOT = Path(__file__).parents[1]
PACKAGES = ("activities", "agent", "api", "models", "tests", "turnstone", "workflows")


def kept(source: Path) -> Path:
    """Where pytest looks for a test module that is rewritten already."""
    return get_cache_dir(source) / f"{source.stem}{PYC_TAIL}"


def rewrite(sources: Iterable[Path]) -> None:
    """Keep each as pytest would."""
    config = SimpleNamespace(getini=lambda _: False)
    for source in sources:
        if _read_pyc(source, kept(source)) is None:
            kept(source).parent.mkdir(parents=True, exist_ok=True)
            source_hash, code = _rewrite_test(source, config)
            _write_pyc(SimpleNamespace(trace=lambda _: None), code, source_hash, kept(source))


def main() -> None:
    for package in PACKAGES:
        compileall.compile_dir(str(ROOT / package), quiet=2)
    rewrite([*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("tests/**/conftest.py")])


if __name__ == "__main__":
    main()
