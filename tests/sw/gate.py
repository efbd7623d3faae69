"""A golden device that waits for a test before each image."""

import threading

from haarlequin.sw.devices.golden import GoldenDevice

SECONDS = 30
"""After which something hangs."""


class Gate:
    """Holds the golden device before each image until the test opens it; can make it fail."""

    def __init__(self, monkeypatch):
        self.open, self.computing, self.error = threading.Event(), threading.Semaphore(0), None
        original = GoldenDevice._run

        def run(device, images):
            for image in images:
                self.computing.release()
                assert self.open.wait(SECONDS)
                if self.error:
                    raise self.error
                yield from original(device, iter([image]))

        monkeypatch.setattr(GoldenDevice, "_run", run)

    def wait(self):
        """Wait until the device has an image."""
        assert self.computing.acquire(timeout=SECONDS)
