#!/bin/sh
# image-info.sh: read paths, one a line, and print what `qemu-img info` says of each as JSON. What is no
# disk, or gone meanwhile, is passed over. Backing files are not opened: a guest may have written their names.
set -eu

command -v qemu-img >/dev/null || { echo "qemu-img is not installed" >&2; exit 1; }
while IFS= read -r path; do
    if [ -f "$path" ] || [ -b "$path" ]; then
        timeout 30 qemu-img info --force-share --output=json -- "$path" 2>/dev/null </dev/null || :
    fi
done
