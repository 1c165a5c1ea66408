"""What is read out of shell commands: programs and their first words, or nothing where it takes a shell to tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.shell import parsed


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("", []),
        ("ls -la", [["ls"]]),
        ("/usr/bin/git -C x status", [["git", "x"]]),
        ("cd /x && git status; echo 'a b' > out 2>&1", [["cd", "/x"], ["git", "status"], ["echo", "a b"]]),
        ("ls | grep -v foo |& wc", [["ls"], ["grep", "foo"], ["wc"]]),
        ("FOO=1 BAR='x y' python3 -m pytest", [["python3", "pytest"]]),
        ("for i in 1 2; do echo $i; done", [["echo", "$i"]]),
        ("if test -f x; then rm x; else touch x; fi", [["test", "x"], ["rm", "x"], ["touch", "x"]]),
        ("while ! ping -c1 host; do sleep 1; done", [["ping", "host"], ["sleep", "1"]]),
        ("(cd a; make) &", [["cd", "a"], ["make"]]),
        ("{ ls; }", [["ls"]]),
        ("cat <<EOF > f && ls\nhello && x\nEOF\nrm f", [["cat"], ["ls"], ["rm", "f"]]),
        ("cat <<-'A' <<B\n\tx\n\tA\ny\nB\n", [["cat"]]),
        ("tee <<< word", [["tee"]]),
        ("# a note\nls # another\n", [["ls"]]),
        ("echo a#b", [["echo", "a#b"]]),
        ("npm run\\\n build", [["npm", "run"]]),
        ('git "it\'s $(echo "x") ${y}" --amend', [["git", "it's $(echo \"x\") ${y}"]]),
        ("echo $(date '+%s)' \\)) `x y` ${z}", [["echo", "$(date '+%s)' \\))"]]),
        ('echo "a \\" b" \\; c', [["echo", 'a \\" b']]),
        ("2>/dev/null ls /", [["ls", "/"]]),
        ("./", [["."]]),
    ],
)  # fmt: skip
def test_programs_are_named_with_their_first_words(command: str, told: list[list[str]]) -> None:
    assert parsed(command) == told


@pytest.mark.parametrize(
    "command",
    [
        "echo 'unclosed",
        'echo "unclosed $(x)',
        "echo $(unclosed",
        "echo `unclosed",
        "f() { ls; }",
        "a=(1 2)",
        "case x in x) ls;; esac",
        "[[ -f x ]]",
        "ls >",
        "ls > ; rm",
        "ls > < x",
        "cat <<EOF\nnever ended",
        "x" * 20_001,
    ],
)
def test_what_takes_a_shell_to_understand_is_not_read(command: str) -> None:
    assert parsed(command) is None


@given(st.text(alphabet="ab '\"\\$(){}`<>|&;#\n=-/\t", max_size=60))
def test_any_text_is_read_or_not_and_each_command_has_one_or_two_words(command: str) -> None:
    told = parsed(command)
    assert told is None or all(len(words) in (1, 2) for words in told)
