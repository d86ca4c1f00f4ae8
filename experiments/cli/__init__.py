"""From a command line to jobs: the only room that knows Hydra."""

import atexit
import gc

atexit.register(gc.freeze)  # or Python searches all that was imported as it ends: a second
