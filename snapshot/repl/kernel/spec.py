"""Tell Jupyter that there is this kernel, or that there is none any more."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from snapshot.errors import UsageError

NAME = "snapshot"
DISPLAY_NAME = "Python (snapshot)"
BELOW = "share/jupyter/kernels"  # of a prefix

SPEC = {
    "argv": [sys.executable, "-m", "snapshot.repl.kernel", "-f", "{connection_file}"],
    "display_name": DISPLAY_NAME,
    "language": "python",
    "interrupt_mode": "message",
    "metadata": {"debugger": False, "supported_encryption": ["curve"]},
}


def install(*, user: bool = False, prefix: str | None = None) -> str:
    """Write the kernelspec: for the user, below a prefix, or for the whole machine.

    Returns the folder. Raises `UsageError` where it cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.json").write_text(json.dumps(SPEC, indent=1))
        try:
            where: str = KernelSpecManager().install_kernel_spec(
                folder, kernel_name=NAME, user=user, prefix=prefix
            )
        except OSError as error:
            raise UsageError(
                f"cannot write {error.filename or error}: {error.strerror}; use --user, "
                "--sys-prefix or --prefix DIR"
            ) from None
    return where


def remove() -> str:
    """Remove the kernelspec that Jupyter finds. Returns its folder. Raises `UsageError`."""
    try:
        return str(KernelSpecManager().remove_kernel_spec(NAME))
    except (NoSuchKernel, KeyError):
        raise UsageError(f"there is no kernel {NAME!r} to remove") from None
    except OSError as error:
        raise UsageError(f"cannot remove {error.filename}: {error.strerror}") from None
