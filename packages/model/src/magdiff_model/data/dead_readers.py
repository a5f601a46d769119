"""The death of a process that reads clips, in words for the user.

torch learns of it from a signal and raises wherever the main thread happens to be: while it waits for a batch, or in
the middle of a step or of a save.
"""

from __future__ import annotations


def reader_death(error: RuntimeError) -> ChildProcessError | None:
    """Return what to tell the user where an error is torch's word that a reader died; None for any other error."""
    said = str(error)
    if not said.startswith("DataLoader worker (pid"):
        return None
    return ChildProcessError(
        f"a process that reads clips died ({said.rstrip('. ')}), perhaps for want of memory: run again with fewer "
        "workers or smaller micro-batches; that goes on from the last checkpoint"
    )
