import asyncio, os, subprocess
from tests.integration.api.test_schema import command, api as _a
from tests.integration.api.serving import KEY
async def test_mine(served, database, tmp_path):
    done = await asyncio.to_thread(subprocess.run, [*command(served.url, KEY, 25), "--include-path-regex=/(insights|metrics)/"], cwd=tmp_path, capture_output=True, text=True, env={**os.environ,"PYTHONWARNINGS":"ignore"}, check=False)
    print((done.stdout+done.stderr)[-6000:]); assert done.returncode==0
