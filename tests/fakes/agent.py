"""A stand-in for the agent's program: it notes each of its lives beside its state, has a child, and waits."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

state = Path(sys.argv[sys.argv.index("--state") + 1])
token = Path(sys.argv[sys.argv.index("--token-file") + 1]).read_text()
if token == "superseded":
    sys.exit(3)
# In a session of its own, as a command that outlives its agent is.
child = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
life = {"pid": os.getpid(), "child": child.pid, "argv": sys.argv[1:], "environment": dict(os.environ), "token": token}
with (state / "lives").open("a") as file:
    file.write(json.dumps(life) + "\n")
while True:
    time.sleep(1000)
