#!/bin/sh
# Builds the daemons that the end-to-end tests run, so that no test meets yesterday's. With TANDEM_BIN_DIR set the tests run
# what is there instead, and nothing is built. All targets, as of the tests: a part of them would build their dependencies anew.
set -eu
[ -n "${TANDEM_BIN_DIR:-}" ] && exit 0
exec "${CARGO:-cargo}" build --quiet --workspace --all-targets
