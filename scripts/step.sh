#!/bin/sh
# step.sh TITLE COMMAND…: say what is done, do it, and say how many seconds it took or that it failed.
# On stderr, so that the output of the command can be sent elsewhere.
title=$1
shift
echo "==> $title" >&2
started=$(date +%s)
"$@"
code=$?
seconds=$(($(date +%s) - started))
if [ "$code" -eq 0 ]; then
    echo "    done in $seconds s" >&2
else
    echo "==> failed after $seconds s with exit code $code: $title" >&2
fi
exit "$code"
