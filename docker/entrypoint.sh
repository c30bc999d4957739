#!/bin/sh
# The operator starts pods by `args` alone, so the entrypoint becomes whatever it is given; as PID 1 that gets SIGTERM itself.
exec "$@"
