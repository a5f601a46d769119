"""An S3 server of the test's own: moto, in a process, on 127.0.0.1."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

_SERVE = (
    "import sys, threading\n"
    "from moto.server import ThreadedMotoServer\n"
    "server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)\n"
    "server.start()\n"
    "print(server.get_host_and_port()[1], flush=True)\n"
    "sys.stdin.read()\n"  # until whoever started it is gone
)


@contextmanager
def object_store(bucket: str = "bucket") -> Iterator[str]:
    """Yield s3://bucket, empty, on a server that the environment points at while the block runs."""
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        with mock.patch.dict(os.environ, environment):
            import s3fs

            s3fs.S3FileSystem.clear_instance_cache()  # a kept one would go on asking the server of an earlier test
            s3fs.S3FileSystem(use_listings_cache=False).call_s3("create_bucket", Bucket=bucket)
            try:
                yield f"s3://{bucket}"
            finally:
                s3fs.S3FileSystem.clear_instance_cache()
                server.terminate()
