"""A program run by itself, and what the system says of its memory: RssAnon is what is its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

BEGIN = """
import gc, json, torch
torch.set_num_threads(1)
torch.set_grad_enabled(False)
said = {}
def note(name):
    gc.collect()
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    kinds = ("RssAnon", "RssFile", "VmRSS", "VmHWM")
    said[name] = {kind: int(lines[kind].split()[0]) / 1024 for kind in kinds}
"""


def resident(program: str) -> dict[str, dict[str, float]]:
    """MiB at each `note("name")` of a program: RssAnon, RssFile, VmRSS, which is
    both, and VmHWM, the most that there was.
    """
    code = f"{BEGIN}\n{program}\nprint(json.dumps(said))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
