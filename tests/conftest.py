"""Settings for all tests."""

import signal

from hypothesis import settings

# The first call of an operator imports torch, and a machine may be busy: time is not what is tested.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

# A shell starts what it puts into the background deaf to Ctrl-C, and children inherit that: tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
