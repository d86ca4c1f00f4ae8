"""From a command line to jobs: the only room that knows Hydra."""
