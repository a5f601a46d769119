"""An S3 server of the test's own: moto, in a process, on 127.0.0.1."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

_SERVE = """
import sys, threading
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
moto, one_at_a_time, seen = server._server.app, threading.Lock(), threading.Semaphore(0)

def tell(environ, start_response):
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return moto(environ, start_response)
    with one_at_a_time:  # moto looks for an object and then writes it: two conditional puts could both find none
        answer = moto(environ, start_response)
        print(environ["REQUEST_METHOD"], environ["PATH_INFO"], flush=True)
        seen.acquire()
    return answer

server._server.app = tell
print(server.get_host_and_port()[1], flush=True)
for _ in sys.stdin:  # until whoever started it is gone
    seen.release()
"""


@dataclass
class Trap:
    """Springs at the n-th write of a kind to an object store: it is done, and whoever wrote does not know yet."""

    kind: str
    """What is found in "PUT /bucket/key"."""
    number: int
    spring: Callable[[], object]
    seen: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __call__(self, write: str) -> None:
        if re.search(self.kind, write) and next(self.seen) == self.number:
            self.spring()


@contextmanager
def object_store(bucket: str = "bucket", watch: Callable[[str], object] = lambda _: None) -> Iterator[str]:
    """Yield s3://bucket, empty, on a server that the environment points at while the block runs.

    `watch` is told of every write, as "PUT /bucket/key", when it is done, and before the writer has its answer.
    """
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

        def listen() -> None:
            assert server.stdin is not None
            assert server.stdout is not None
            for write in server.stdout:
                watch(write.strip())
                print(file=server.stdin, flush=True)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        with mock.patch.dict(os.environ, environment):
            import s3fs

            s3fs.S3FileSystem.clear_instance_cache()  # a kept one would go on asking the server of an earlier test
            s3fs.S3FileSystem(use_listings_cache=False).call_s3("create_bucket", Bucket=bucket)
            try:
                yield f"s3://{bucket}"
            finally:
                s3fs.S3FileSystem.clear_instance_cache()
                server.terminate()
                listener.join()
