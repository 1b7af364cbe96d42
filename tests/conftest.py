"""What all tiers share."""

import atexit
import os
import shutil
import signal
import tempfile

# Plain output everywhere: a test reads what a program prints.
os.environ["NO_COLOR"] = "1"
os.environ.pop("FORCE_COLOR", None)

# The tests find their own servers, never one of the person who runs them.
for name in ("VIBEHQ_URL", "VIBEHQ_TOKEN", "VIBEHQ_DATA", "JPY_PARENT_PID"):
    os.environ.pop(name, None)

# Shells read what is in the home folder: what they do here is the same for everybody.
os.environ["HOME"] = tempfile.mkdtemp(prefix="vibehq-home-")
atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)
for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "ZDOTDIR"):
    os.environ.pop(name, None)

# A shell that runs tests in the background starts them deaf to Ctrl-C; some send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
