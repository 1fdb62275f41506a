#!/bin/sh
# numba needs a cache folder that it can write to. Copy the image's compiled kernels into it, then run streamcast.
mkdir -p "$NUMBA_CACHE_DIR" && cp -R /opt/streamcast/kernels/. "$NUMBA_CACHE_DIR" ||
    echo "streamcast: the kernels will be compiled, which takes a minute" >&2
exec streamcast "$@"
