"""What comes before the command line: limits of the process and missing libraries."""

import resource
import subprocess
import sys


def test_a_low_limit_of_open_files_is_raised():
    """Each client of the API takes one."""
    program = (
        "import resource, ipserver.cli, ipserver.__main__\n"
        "ipserver.cli.main = lambda: print(*resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "ipserver.__main__.main()"
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    for limits, left in (("-Sn 64", (enough, hard)), ("-Sn 64 && ulimit -Hn 128", (128, 128))):
        command = ["sh", "-c", f'ulimit {limits} && exec "$0" -c "$1"', sys.executable, program]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert tuple(map(int, done.stdout.split())) == left


def test_without_the_libraries_of_the_service_a_sentence_says_what_to_install():
    check = "from iplab.shadowing import require_installed as r; r('ipserver', ('json', 'no_such'), 'server')"
    done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the service's libraries are not installed" in done.stderr
    assert "Missing are:\n    no_such\n" in done.stderr
    assert max(map(len, done.stderr.splitlines())) <= 80
    assert "pip install 'iplab[server]'" in done.stderr
    assert "Traceback" not in done.stderr
