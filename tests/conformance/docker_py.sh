#!/bin/sh
# Runs docker-py's own integration tests against a Weft: docker_py.sh CHECKOUT [--update]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$1" && pwd)
root=$(mktemp -d /tmp/wdpXXXXXX)
python=$here/../../.venv/bin/python
weft() { "$python" -m weft.cli.main --root "$root" "$@"; }
trap 'weft down >/dev/null 2>&1; rm -rf "$root"' EXIT
weft up --detach --api-port 0 --registry-port 0 --kubelet-port 0
export DOCKER_HOST="unix://$root/run/weft/docker.sock" HOME="$root/home" DOCKER_BUILDKIT=0
mkdir -p "$HOME" "$root/image"
weft image bootstrap busybox >/dev/null
cat > "$root/image/Dockerfile" <<'IMAGE'
FROM busybox
RUN mkdir -p /var/opt && echo 'postgres:x:70:70::/var/lib:/bin/sh' >> /etc/passwd && echo 'postgres:x:70:' >> /etc/group
IMAGE
docker build -q -t alpine:3.10 "$root/image" >/dev/null
for tag in alpine:latest hello-world:latest; do docker tag alpine:3.10 $tag; done
cd "$checkout"
ignored=""
for name in api_swarm api_service api_plugin api_secret api_config models_swarm models_services models_nodes context_api; do
    ignored="$ignored --ignore tests/integration/${name}_test.py"
done
# shellcheck disable=SC2086
"$python" -m pytest tests/integration -q -p no:cacheprovider --tb=no -rp --timeout 60 $ignored --ignore tests/integration/credentials \
    > "$root/log" 2>&1 || true
sed -n 's/^PASSED //p' "$root/log" | sort > "$root/passed"
tail -1 "$root/log"
[ "${2:-}" = --update ] && sort -u -o "$here/docker-py.txt" "$root/passed" "$here/docker-py.txt"
missing=$(comm -13 "$root/passed" "$here/docker-py.txt")
[ -z "$missing" ] || { echo "these passed before:"; echo "$missing"; exit 1; }
