"""Four pretend providers in a process of their own: whatever they are asked, they say at once that
the job is being rendered.
"""

import asyncio
import logging

import uvloop

from benchmarks.endpoint import answering, serve
from service import jsontext, logs

SAYS = {
    "fal": {"status": "IN_PROGRESS", "logs": None},
    "genviral": {"ok": True, "data": {"status": "processing"}},
    "prism": {"status": "generating"},
    "relay": {"status": "IN_PROGRESS"},
}

if __name__ == "__main__":
    logs.set_up(logging.WARNING)
    apps = {name: answering(jsontext.dumps(says).encode()) for name, says in SAYS.items()}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(apps))
