#!/bin/sh
# Installs what Weft needs: Debian packages of packages.txt and a virtual environment with the locked versions.
# usage: scripts/setup.sh run|test|bench        A second run finds all in place and ends at once.
set -eu
cd "$(dirname "$0")/.."
groups="run"
[ "${1:-run}" = test ] && groups="run test"
[ "${1:-run}" = bench ] && groups="run test bench"
say() { printf 'setup: %s\n' "$*"; }

[ "$(id -u)" = 0 ] || { echo "setup: cannot install packages: run as root" >&2; exit 1; }
python=$(command -v python3.11 || command -v python3 || true)
present() { # present PROBE: a path that exists, or python3:MODULE
    case $1 in
        python3:*) [ -n "$python" ] && "$python" -c "import ${1#python3:}" 2>/dev/null ;;
        /usr/lib/x86_64-linux-gnu/*) ls /usr/lib/*/"${1##*/}" >/dev/null 2>&1 ;;
        *) [ -e "$1" ] || [ -e "/bin/${1##*/}" ] || [ -e "/sbin/${1##*/}" ] ;;
    esac
}
missing=""
for group in $groups; do
    while read -r in_group package probe; do
        [ "$in_group" = "$group" ] || continue
        present "$probe" || missing="$missing $package"
    done < packages.txt
done
[ -n "$python" ] || missing="$missing python3"
if [ "$groups" != run ]; then # the tests drive the real clients; a user's own are left alone
    command -v kubectl >/dev/null || missing="$missing kubernetes-client"
    command -v docker >/dev/null || missing="$missing docker.io"
fi
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || { echo "setup: missing$missing, and no apt-get to install them" >&2; exit 1; }
    say "installing Debian packages:$missing"
    # Installing a daemon must not start it.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod 755 $policy
        trap 'rm -f $policy' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
    [ -n "$python" ] || python=$(command -v python3)
fi
# Not the one of an environment that is active: it may be the very one that is made anew below.
python=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: Python 3.11 or newer is needed" >&2; exit 1; }

stamp=.venv/.weft-$(cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)
if [ ! -e "$stamp" ]; then
    say "making .venv with the versions of requirements.lock"
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    .venv/bin/pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    .venv/bin/python -m compileall -q .venv/lib src || true
    : > "$stamp"
fi
peers=.venv/.weft-bench-$(sha256sum < requirements-bench.lock | cut -c1-16)
if [ "${1:-run}" = bench ] && [ ! -e "$peers" ]; then
    say "installing the peers of benchmarks"
    .venv/bin/pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
    : > "$peers"
fi
say "ready"
