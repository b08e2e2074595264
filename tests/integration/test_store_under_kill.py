"""Two processes save one page at the same time, and one of them is killed."""

import subprocess
import sys
from pathlib import Path

from automation.runtime.store import list_pages, read_page

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from automation.runtime.store import Stamp, save_page

root, start = Path(sys.argv[1]), int(sys.argv[2])
for version in range(start, start + 100_000, 2):
    page = {"id": "home", "route": "/", "config": {"text": "x" * 20_000}, "version": version}
    result = save_page(root, "shop", page, Stamp(datetime.now(UTC), version), backup_previous=True)
    print(version if result.saved else "", flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_reported_and_blocks_nobody(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    even = subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True)
    odd = subprocess.Popen([*command, "1"], stdout=subprocess.PIPE, text=True)
    assert even.stdout
    assert odd.stdout
    reported = [line.strip() for line, _ in zip(even.stdout, range(100), strict=False)]
    even.kill()
    reported += [line.strip() for line in even.stdout]
    after_the_kill = [odd.stdout.readline() for _ in range(50)]
    odd.kill()
    reported += [line.strip() for line in [*after_the_kill, *odd.stdout]]
    for process in (even, odd):
        assert process.stdout
        process.wait()
        process.stdout.close()

    saved = read_page(tmp_path, "shop", "home")
    assert saved is not None
    assert saved["version"] >= max(int(line) for line in reported if line)
    assert len(saved["config"]["text"]) == 20_000
    assert list_pages(tmp_path, "shop") == [saved]
