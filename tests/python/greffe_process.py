"""Starts and stops real servers for the tests."""

import os
import pathlib
import signal
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")

# Limits that would only slow the tests down.
LIMITS = ("messages_per_second=0", "connections_per_address=1000", "connections_per_user=1000")


class Server:
    """A server with a data directory of its own; use it in a `with`."""

    def __init__(self):
        self.home = tempfile.TemporaryDirectory(prefix="greffe-test-")
        self.address = "127.0.0.1:0"
        self.admin_socket = None
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        log = self.log()
        self.home.cleanup()
        assert "panicked at" not in log, log

    def start(self):
        """Starts the server, at its earlier address if it had one, and waits until it is ready."""
        command = [TARGET / "debug" / "greffe-server", "--data-dir", f"{self.home.name}/data", "--listen", self.address]
        for limit in LIMITS:
            command += ["--limit", limit]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GREFFE_")}
        with open(f"{self.home.name}/log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("ready grpc="), f"{line!r}\n{self.log()}"
        self.address, _, admin = line.removeprefix("ready grpc=").strip().partition(" admin=unix:")
        self.admin_socket = admin.partition(" admin-tls=")[0]

    def restart(self):
        """Stops the server as a service manager does, and starts it again."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0, self.log()
        self.process.stdout.close()
        self.start()

    def log(self):
        with open(f"{self.home.name}/log", errors="replace") as log:
            return log.read()
