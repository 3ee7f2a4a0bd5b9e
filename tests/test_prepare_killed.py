"""`prepare` killed at any moment and run again gives the very store of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixtures_datasets import write_disfa

SCRIPT = """
import sys
from pathlib import Path
from data_modules.disfa import prepare_disfa
if __name__ == "__main__":
    prepare_disfa(Path(sys.argv[1]), Path(sys.argv[2]), size=96, workers=2, progress=False)
"""


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_sigkill_three_times(tmp_path: Path) -> None:
    """Killed with whatever parts are done, at random times of the time an undisturbed run takes."""
    subjects = [f"SN{number:03d}" for number in (1, 2, 3, 4, 6, 11)]
    raw = write_disfa(tmp_path / "raw", subjects, frames=60, faceless=[7])
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(raw)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    start = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], env=environment, check=True)
    whole = time.monotonic() - start
    chance = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen([*command, str(tmp_path / "killed")], env=environment)
        time.sleep(chance.uniform(0.4, 0.95) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, str(tmp_path / "killed")], env=environment, check=True)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert not list(tmp_path.glob("*.preparing"))
