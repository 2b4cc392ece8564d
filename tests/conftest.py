"""Settings for all tests."""

from hypothesis import settings

# The first call of an operator imports torch, and a machine may be busy: time is not what is tested.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
