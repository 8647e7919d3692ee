"""A table in a bucket, by pyarrow's own S3 and moto's server, in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.support.external_programs import environment
from tests.support.log_files import Stream, lay_out, lines
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true"}
_READ = """
import sys
from pyarrow import dataset
table = dataset.dataset(sys.argv[1], partitioning="hive").to_table(columns=["sequence", "model"])
print(sorted(table["sequence"].to_pylist()), set(table["model"].to_pylist()))
"""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Start moto's server with one bucket and return where it listens."""
    python = environment("moto")
    command = [str(python), "-c", "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        told = next(line for line in server.stderr if "Running on" in line)
        found = re.search(r"127\.0\.0\.1:\d+", told)
        assert found
        urllib.request.urlopen(urllib.request.Request(f"http://{found[0]}/logs", method="PUT"), timeout=10).close()
        yield found[0]
    finally:
        server.kill()
        server.communicate()


def test_bucket(endpoint: str, tmp_path: Path) -> None:
    """Runs add to a bucket as to a folder, and its files are read back as they lie there."""
    where = f"s3://logs/table?scheme=http&endpoint_override={endpoint}&region=us-east-1"
    stream = Stream()
    source = lay_out("files", tmp_path, lines(stream, stream.predictions(3)))
    add = ("-m", "predictor", "log", "export", "--append", where, "--from", source)
    for told in ("3 predictions, 0 feedback records in 1 files", "0 predictions, 0 feedback records in 0 files"):
        assert f"s3://logs/table: {told}" in run(
            "-m", "predictor", "log", "export", "--append", where, "--from", source
        )
    with (tmp_path / "files" / "logs.jsonl").open("ab") as file:
        file.writelines(lines(stream, stream.predictions(2)))
    assert "2 predictions" in run(*add)
    assert run("-c", _READ, where.replace("table?", "table/predictions?")) == "[1, 2, 3, 4, 5] {'iris'}\n"


def run(*arguments: str) -> str:
    """Run our own Python, which may sign for the bucket, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | _KEYS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
