"""What the address of a git remote tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.remotes import branch_page, provider

PAGE = "https://github.com/acme/site/tree/a/b"


@pytest.mark.parametrize(
    ("remote", "kind", "page"),
    [
        ("https://github.com/acme/site.git", "github", PAGE),
        ("https://github.com/acme/site/", "github", PAGE),
        ("https://user:secret@github.com:443/acme/site", "github", PAGE),
        ("git@github.com:acme/site.git", "github", PAGE),
        ("ssh://git@GitHub.com:22/acme/site.git", "github", PAGE),
        ("https://gitlab.example.com/a/b/c.git", "gitlab", "https://gitlab.example.com/a/b/c/-/tree/a/b"),
        ("git@bitbucket.org:acme/site.git", "bitbucket", "https://bitbucket.org/acme/site/src/a/b"),
        ("https://git.example.com/acme/site.git", None, None),
        ("https://notgithub.com/acme/site", None, None),
        ("/srv/github/site.git", None, None),
        ("javascript://github.com/%0aalert(1)", None, None),
        ("https://github.com/", None, None),
        ("", None, None),
    ],
)
def test_a_remote_tells_its_host_and_the_page_of_a_branch(remote: str, kind: str | None, page: str | None) -> None:
    assert provider(remote) == kind
    assert branch_page(remote, "a/b") == page


def test_a_branch_is_one_step_of_the_address_whatever_it_is_called() -> None:
    page = branch_page("https://github.com/acme/site", 'x?y#z "q" é')
    assert page == "https://github.com/acme/site/tree/x%3Fy%23z%20%22q%22%20%C3%A9"
    assert branch_page("https://github.com/acme/site", "") is None


@given(st.text(max_size=60), st.text(min_size=1, max_size=20))
def test_a_page_is_an_address_of_the_web_or_there_is_none(remote: str, branch: str) -> None:
    page = branch_page(remote, branch)
    assert page is None or page.startswith("https://")
