#!/usr/bin/env bash
# Fills the folder that the Containerfile is built from. Root is needed to give a file capabilities.
# usage: context.sh BINARY FOLDER
set -euo pipefail
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
mkdir -p "$2"
install -m 755 "$1" "$2/hostler"
install -m 644 /etc/ssl/certs/ca-certificates.crt "$2/"
"${sudo[@]}" setcap cap_net_bind_service,cap_net_raw+ep "$2/hostler"
