"""A process that connects to Ray before the driver does, or starts it: what Ray's native code ends ends this one.

Called as `python -c CODE PATH REQUEST DRIVER`, see `ablate.execute.beside`. It answers by one line of JSON on what was
stdout when it began, {"address": where Ray is} or {"error": why not}. Where it started the cluster it then stays
until its stdin ends, for Ray ties its servers to the thread that started them. They are in a session of their own,
and inherit that signals which stop a driver are blocked: whoever sends them to all of a job's processes (a batch
system, `timeout`, a terminal) reaches the driver, which lets the workers write their checkpoints and ends them all.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from typing import Any

from ablate.execute.child import SIGNALS
from ablate.runtime.parent import end_with

REGISTERED = 150.0  # seconds that a node may take to be known to its head; Ray itself gives up after 30


def main() -> None:
    """Connect and answer; where the cluster is ours, stay as long as there is a driver."""
    request, driver = json.loads(sys.argv[2]), int(sys.argv[3])
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    end_with(driver)
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        answer = {"address": connect(request["init"], request["loopback"])}
    except Exception as error:  # noqa: BLE001 - whatever Ray raises, the driver tells it in one message
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=stdout, flush=True)
    if request["stay"] and "address" in answer:
        sys.stdin.read()
    os._exit(0)


def connect(init: dict[str, Any], loopback: bool) -> str:
    """Connect to Ray, and return the cluster's address.

    loopback: keep 127.0.0.1, which Ray else swaps for an address that others can reach.
    """
    import ray
    from ray._private import ray_constants

    if loopback:
        ray_constants.ENABLE_RAY_CLUSTER = False
    _wait_longer()
    ray.init(**init, log_to_driver=False, logging_level=logging.CRITICAL)
    return str(ray.get_runtime_context().gcs_address)


def _wait_longer() -> None:
    """Let Ray wait for its own node as long as a busy machine takes, where Ray asks as it did when this was written."""
    from ray._private import services

    ask = getattr(services, "get_node", None)
    if ask is None:
        return

    def patient(*words: Any, **named: Any) -> Any:
        end = time.monotonic() + REGISTERED
        while True:
            try:
                return ask(*words, **named)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    services.get_node = patient
