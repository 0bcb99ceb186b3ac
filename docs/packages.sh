# SPDX-License-Identifier: MIT
#
# The packages of Debian and Ubuntu that poolfs is built, run and tested with, and how to get
# them. Sourced by docs/quickstart.sh and tests/run.sh; does nothing by itself.

packages_build="gcc libc6-dev meson ninja-build pkg-config libfuse3-dev libinih-dev libjansson-dev \
	libpcre2-dev libssh2-1-dev libssl-dev libuv1-dev"

# What the daemon, the virtual machines and the guest image need.
packages_run="fuse3 openssh-client openssh-sftp-server dropbear-bin busybox-static cpio xz-utils zstd"
case $(uname -m) in
aarch64 | arm64) packages_run="$packages_run qemu-system-arm" ;;
*) packages_run="$packages_run qemu-system-x86" ;;
esac

# The tests also log in to an SSH server and try programs that people use on files.
packages_test="libcmocka-dev qemu-utils openssh-server rsync python3 python3-paramiko curl git mandoc \
	less make vim fio iproute2 uidmap"

# Prints those of the packages that are not installed.
packages_missing() {
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			printf '%s ' "$package"
	done
}

# Installs those of the packages that are missing; uses no network when all are there.
packages_install() {
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		echo "This is neither Debian nor Ubuntu: if something is missing below, install" \
			"what these packages stand for: $*" >&2
		return 0
	fi
	missing=$(packages_missing "$@")
	[ -n "$missing" ] || return 0
	root=
	if [ "$(id -u)" != 0 ]; then
		if ! command -v sudo >/dev/null; then
			echo "Packages are missing. Install them as root: apt-get install $missing" >&2
			return 1
		fi
		root=sudo
	fi
	echo "Installing packages: $missing"
	log=$(mktemp)
	# An index that cannot be refreshed may still be good enough.
	$root apt-get -q update >"$log" 2>&1 || true
	# shellcheck disable=SC2086
	if ! $root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y \
		--no-install-recommends $missing >>"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		echo "The packages could not be installed." >&2
		return 1
	fi
	rm -f "$log"
}
