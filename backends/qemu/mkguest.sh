#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Makes a small Linux guest for poolfs: a distribution's kernel, and an initramfs with busybox and
# an SSH server. See --help. Needs no root and changes nothing but the output directory.
set -eu

# Changes whenever what is built changes, so that an older image is made anew.
recipe=4
# virtio for QEMU's devices; pvpanic reports a panic to QEMU; button is its power button.
modules="virtio_pci virtio_mmio virtio_net virtio_blk virtio-rng pvpanic-pci pvpanic-mmio button"
wanted=
arch=
kernel=
output=
force=no
work=

usage() {
	cat <<'END'
usage: poolfs-mkguest [--arch ARCH] [--kernel FILE] [--module NAME]... [--output DIR] [--force]

Makes a small Linux guest for poolfs' kind of machine "qemu": it boots within seconds, runs
from memory, and lets one SSH key log in as root. In DIR it writes

  kernel                      a Linux kernel of the distribution
  initrd.img                  busybox, an SSH server (dropbear) with SFTP, and a few modules
  id_ed25519, id_ed25519.pub  the key that logs in, made by ssh-keygen

and shows the lines of a configuration that uses them. Every guest makes a host key of its own
at each boot. Its serial console gives a root shell, without password, after Enter. No root is
needed here.

  --arch ARCH      x86_64 or arm64 (aarch64); by default this machine's
  --kernel FILE    this kernel instead of the distribution's cloud kernel, for example
                   /boot/vmlinuz-VERSION (modules then come from /lib/modules/VERSION), or one of
                   your own build with virtio built in
  --modules DIR    the modules of --kernel, a directory such as /lib/modules/VERSION
  --module NAME    one more module to load at boot, with what it needs (ext4, loop, overlay, ...);
                   may be given several times
  --output DIR     where to; by default ${XDG_DATA_HOME:-~/.local/share}/poolfs/guest
  --force          make it anew, also when DIR holds the same already; the key pair is kept
  --help           this text

The parts come from this machine (busybox, dropbear, sftp-server), or, on Debian, Ubuntu and the
like, from the distribution's packages, fetched with apt-get and unpacked into a temporary
directory. So another ARCH works where the distribution's mirror has it.
END
}

say() { printf 'poolfs-mkguest: %s\n' "$*"; }

fail() {
	printf 'poolfs-mkguest: %s\n' "$*" >&2
	exit 1
}

# Tells which program is missing and which package has it.
need() {
	command -v "$1" >/dev/null 2>&1 || fail "$1 is missing; install the package $2"
}

parse() {
	while [ $# -gt 0 ]; do
		case $1 in
		--arch | --kernel | --modules | --module | --output)
			[ $# -ge 2 ] || fail "$1 needs a value (see --help)"
			;;
		esac
		case $1 in
		--arch) arch=$2; shift ;;
		--kernel) kernel=$2; shift ;;
		--modules) module_directory=$2; shift ;;
		--module) wanted="$wanted $2"; shift ;;
		--output) output=$2; shift ;;
		--force) force=yes ;;
		-h | --help) usage; exit 0 ;;
		*) fail "unknown argument $1 (see --help)" ;;
		esac
		shift
	done
}

# One name per architecture, and the distribution's.
architecture() {
	case $1 in
	x86_64 | amd64) echo x86_64 ;;
	arm64 | aarch64) echo arm64 ;;
	*) fail "cannot make a guest for $1; x86_64 and arm64 are known" ;;
	esac
}

# apt-get and apt-cache for the guest's architecture; for another one with lists of their own, so
# that the system's are not touched.
apt_setup() {
	need apt-get "apt (or give --kernel and install busybox-static, dropbear and sftp-server)"
	need dpkg-deb dpkg
	[ -z "${APT_CONFIG:-}" ] || return 0
	APT_CONFIG=$work/apt.conf
	export APT_CONFIG
	echo 'APT::Sandbox::User "root";' >"$APT_CONFIG"
	[ "$arch" = "$native" ] && return
	mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial"
	: >"$work/apt/status"
	cat >>"$APT_CONFIG" <<-END
		#clear APT::Architectures;
		APT::Architecture "$debian";
		APT::Architectures { "$debian"; };
		Dir::State "$work/apt/state";
		Dir::State::status "$work/apt/status";
		Dir::Cache "$work/apt/cache";
	END
	say "fetching the package lists for $debian"
	apt-get -q update >"$work/apt.log" 2>&1 || true
}

# Fetches one package and unpacks it into the tree of parts.
package() {
	apt_setup
	say "fetching the package $1"
	mkdir -p "$work/packages"
	(cd "$work/packages" && apt-get -q download "$1" >"$work/apt.log" 2>&1) || {
		sed 's/^/  /' "$work/apt.log" >&2
		fail "apt-get cannot fetch $1; is the package list up to date (apt-get update)?"
	}
	for deb in "$work/packages"/*.deb; do
		dpkg-deb -x "$deb" "$parts"
		rm -f "$deb"
	done
}

# The same with the packages of libraries that it needs, and those that they need.
package_with_libraries() {
	case ${fetched:-} in *" $1 "*) return ;; esac
	fetched="${fetched:-} $1 "
	package "$1"
	for library in $(apt-cache depends "$1" | sed -n 's/^ *|\{0,1\}Depends: \(\(lib\|zlib\)[^<]*\)$/\1/p'); do
		package_with_libraries "$library"
	done
}

# The package that a package without content stands for: linux-image-cloud-amd64 is
# linux-image-6.1.0-50-cloud-amd64 today.
real_package() {
	apt-cache depends "$1" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' |
		head -n 1
}

# Print where the packages have a kernel's modules, and itself: it depends on the distribution.
find_modules() {
	for directory in "$parts/lib/modules/$1" "$parts/usr/lib/modules/$1"; do
		[ -d "$directory/kernel" ] && echo "$directory" && return 0
	done
	return 1
}
find_kernel() {
	for file in "$parts/boot/vmlinuz-$1" "$parts/usr/lib/modules/$1/vmlinuz"; do
		[ -f "$file" ] && echo "$file" && return 0
	done
	return 1
}

fetch_kernel() {
	apt_setup
	for meta in "linux-image-cloud-$debian" linux-image-kvm linux-image-virtual \
		"linux-image-$debian" linux-image-generic; do
		image=$(real_package "$meta")
		[ -z "$image" ] || break
	done
	[ -n "$image" ] || fail "no kernel package found; run apt-get update, or give --kernel FILE"
	package "$image"
	version=${image#linux-image-}
	# Debian since 14 has both in packages of their own, Ubuntu the modules.
	find_kernel "$version" >/dev/null || package "linux-binary-$version"
	kernel=$(find_kernel "$version") || fail "the packages have no kernel $version"
	find_modules "$version" >/dev/null || package "linux-modules-$version"
	module_directory=$(find_modules "$version") || fail "the packages have no modules for $version"
}

# The kernel given by the user, and its modules where its name tells the version.
given_kernel() {
	[ -r "$kernel" ] || fail "cannot read the kernel $kernel (some systems let only root read it)"
	[ -n "${module_directory:-}" ] && return
	version=${kernel##*/}
	module_directory=/lib/modules/${version#*-}
	[ -d "$module_directory" ] || module_directory=
}

# Prints the path of a part: from the tree of parts, else, for this machine's architecture, from
# the machine itself.
part() {
	for place in "$parts" ${host_root+"$host_root"}; do
		for name in "$@"; do
			[ -f "$place$name" ] && echo "$place$name" && return 0
		done
	done
	return 1
}

find_busybox() { part /bin/busybox /usr/bin/busybox; }
find_dropbear() { part /usr/sbin/dropbear /usr/bin/dropbear; }
find_dropbearkey() { part /usr/bin/dropbearkey; }
find_sftp() {
	part /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server \
		/usr/libexec/sftp-server /usr/lib/sftp-server
}

# Libraries that a program or library names. They stand in it as text, so no tool that knows the
# guest's architecture is needed.
needed_libraries() {
	LC_ALL=C grep -a -o -E 'lib[A-Za-z0-9_+.-]*\.so\.[0-9]+|/lib[a-z0-9/_-]*/ld-[a-z0-9_.-]*\.so\.[0-9]+' "$1" |
		sort -u
}

is_static() { ! LC_ALL=C grep -a -q -E '/lib[a-z0-9/_-]*/ld-[a-z0-9_.-]*\.so\.[0-9]' "$1"; }

find_library() {
	for place in "$parts" ${host_root+"$host_root"}; do
		for directory in "$place"/lib/*-linux-gnu* "$place"/usr/lib/*-linux-gnu* \
			"$place/lib64" "$place/usr/lib64" "$place/lib" "$place/usr/lib"; do
			[ -f "$directory/$1" ] && echo "$directory/$1" && return 0
		done
	done
	return 1
}

# Copies the libraries of a program into the guest's /lib, the loader to where the program wants it.
add_libraries() {
	for name in $(needed_libraries "$1"); do
		to=$root/lib/${name##*/}
		case $name in /*) to=$root$name ;; esac
		[ -e "$to" ] && continue
		from=$(find_library "${name##*/}") || continue
		mkdir -p "${to%/*}"
		cp -L "$from" "$to"
		chmod 755 "$to"
		# What the C library names, it loads for features that are not used here.
		case $name in libc.so.*) ;; *) add_libraries "$to" ;; esac
	done
}

# add_program FILE PATH: puts it into the guest with its libraries.
add_program() {
	mkdir -p "$root${2%/*}"
	cp -L "$1" "$root$2"
	chmod 755 "$root$2"
	is_static "$1" || add_libraries "$1"
}

programs() {
	busybox=$(find_busybox) || busybox=
	if [ -z "$busybox" ] || ! is_static "$busybox"; then
		package busybox-static
		busybox=$(find_busybox)
	fi
	if ! find_dropbear >/dev/null || ! find_dropbearkey >/dev/null; then
		package_with_libraries dropbear-bin
	fi
	find_sftp >/dev/null || package_with_libraries openssh-sftp-server
	add_program "$busybox" /bin/busybox
	add_program "$(find_dropbear)" /usr/sbin/dropbear
	add_program "$(find_dropbearkey)" /usr/bin/dropbearkey
	add_program "$(find_sftp)" /usr/lib/sftp-server
	# Older C libraries read /etc/passwd through it.
	library=$(find_library libnss_files.so.2) && cp -L "$library" "$root/lib/"
	# Dropbear and scripts look for it in different places.
	mkdir -p "$root/usr/lib/openssh" "$root/usr/libexec"
	ln -s ../sftp-server "$root/usr/lib/openssh/sftp-server"
	ln -s ../lib/sftp-server "$root/usr/libexec/sftp-server"
}

# Prints a module as it is when not compressed.
module_bytes() {
	case $1 in
	*.xz) need xz xz-utils; xz -dc "$1" ;;
	*.zst) need zstd zstd; zstd -dcq "$1" ;;
	*.gz) gzip -dc "$1" ;;
	*) cat "$1" ;;
	esac
}

# Puts a module and all that it needs into the guest, in the order in which to load them.
# In module names - and _ are the same.
add_module() {
	pattern=$(printf %s "$1" | sed 's/[-_]/[-_]/g')
	grep -q -x "$(printf %s "$1" | tr - _)" "$work/loaded" && return 0
	file=$(find "$module_directory/" -name "$pattern.ko*" | head -n 1)
	if [ -z "$file" ]; then
		grep -q "/$pattern\.ko" "$module_directory/modules.builtin" 2>/dev/null && return 0
		return 1
	fi
	# A subshell keeps the variables of this level.
	for need in $(module_bytes "$file" | tr '\0' '\n' | sed -n 's/^depends=//p' | tr , ' '); do
		(add_module "$need")
	done
	printf '%s\n' "$1" | tr - _ >>"$work/loaded"
	module_bytes "$file" >"$root/lib/modules/$1.ko"
	echo "$1" >>"$root/etc/modules"
}

add_modules() {
	mkdir -p "$root/lib/modules"
	: >"$root/etc/modules"
	: >"$work/loaded"
	[ -n "$module_directory" ] || {
		say "no modules for this kernel; it must have virtio built in"
		[ -z "$wanted" ] || fail "--module needs --modules DIR with this kernel"
		return
	}
	for name in $modules; do
		add_module "$name" || say "this kernel has no module $name (goes on without)"
	done
	for name in $wanted; do
		add_module "$name" || fail "this kernel has no module $name"
	done
}

# The guest's own files. /init is busybox's init; /etc/rc runs once.
configuration() {
	mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/run" "$root/sbin" \
		"$root/usr/bin" "$root/etc/dropbear" "$root/root/.ssh" "$root/var/log" "$root/mnt"
	chmod 1777 "$root/tmp"
	chmod 700 "$root/root" "$root/root/.ssh"
	ln -s bin/busybox "$root/init"
	for name in sh mount mkdir insmod cat; do ln -s busybox "$root/bin/$name"; done
	cp "$output/id_ed25519.pub" "$root/root/.ssh/authorized_keys"
	chmod 600 "$root/root/.ssh/authorized_keys"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	echo 'root:*:19000:0:99999:7:::' >"$root/etc/shadow"
	chmod 600 "$root/etc/shadow"
	echo 'root:x:0:' >"$root/etc/group"
	echo /bin/sh >"$root/etc/shells"
	echo poolfs >"$root/etc/hostname"
	printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$root/etc/hosts"
	printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
	cat >"$root/etc/profile" <<'END'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=${HOME:-/root}
PS1='\h:\w# '
END
	cat >"$root/etc/inittab" <<'END'
::sysinit:/etc/rc
::respawn:/usr/sbin/dropbear -F -E -s -P /run/dropbear.pid -r /etc/dropbear/host_key
::askfirst:/etc/console
::shutdown:/bin/umount -a -r >/dev/null 2>&1
::ctrlaltdel:/sbin/poweroff
END
	cat >"$root/etc/rc" <<'END'
#!/bin/sh
# What has to be there before the login: file systems, devices, network, host key.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s /proc/self/fd /dev/fd
while read module; do
	insmod "/lib/modules/$module.ko"
done </etc/modules
/bin/busybox --install -s
hostname -F /etc/hostname
ip link set lo up
for path in /sys/class/net/*; do
	[ "${path##*/}" = lo ] && continue
	udhcpc -S -t 5 -T 1 -A 5 -i "${path##*/}" -s /etc/dhcp >/dev/null 2>&1 &
done
dropbearkey -t ed25519 -f /etc/dropbear/host_key >/dev/null 2>&1
END
	cat >"$root/etc/dhcp" <<'END'
#!/bin/sh
# Called by udhcpc. Until there is an answer, the first interface has what QEMU's user network gives
# anyway: a request that is lost while the link comes up costs a second.
case $1 in
deconfig)
	[ "$interface" = eth0 ] && ip addr add 10.0.2.15/24 dev eth0 2>/dev/null
	ip link set "$interface" up
	;;
leasefail)
	[ "$interface" = eth0 ] && ip route add default via 10.0.2.2 2>/dev/null
	;;
bound | renew)
	if ! ip -4 addr show dev "$interface" | grep -q " $ip/${mask:-24} "; then
		ip addr flush dev "$interface"
		ip addr add "$ip/${mask:-24}" dev "$interface"
	fi
	[ -n "$router" ] && ip route replace default via "${router%% *}"
	: >/etc/resolv.conf
	for server in $dns; do echo "nameserver $server" >>/etc/resolv.conf; done
	[ -n "$hostname" ] && hostname "$hostname"
	;;
esac
exit 0
END
	cat >"$root/etc/console" <<'END'
#!/bin/sh
# A shell with job control on the console's terminal.
cd /root
export HOME=/root USER=root TERM="${TERM:-vt100}"
exec cttyhack /bin/sh -l
END
	chmod 755 "$root/etc/rc" "$root/etc/dhcp" "$root/etc/console"
}

make_keys() {
	[ -s "$output/id_ed25519" ] && [ -s "$output/id_ed25519.pub" ] && return
	need ssh-keygen openssh-client
	say "making the key pair $output/id_ed25519"
	rm -f "$output/id_ed25519" "$output/id_ed25519.pub"
	ssh-keygen -q -t ed25519 -N '' -C poolfs-guest -f "$output/id_ed25519"
}

# Not compressed: a guest without hardware virtualisation takes longer to unpack it than the host
# to read it.
pack() {
	say "packing the initramfs"
	(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$output/initrd.img.new"
	cp -L "$kernel" "$output/kernel.new"
	chmod 644 "$output/initrd.img.new" "$output/kernel.new"
	mv -f "$output/kernel.new" "$output/kernel"
	mv -f "$output/initrd.img.new" "$output/initrd.img"
	printf '%s\n' "$stamp" >"$output/made"
}

# Full paths without links or dots, as a configuration wants them.
absolute() { (cd "$1" && pwd); }

finish() {
	case $arch in
	x86_64) console=ttyS0 quicker=" tsc=reliable no_timer_check" ;;
	*) console=ttyAMA0 quicker= ;;
	esac
	say "done: $output ($(du -h "$output/initrd.img" | cut -f 1) initramfs)"
	cat <<END

[pool linux]
type = qemu
kernel = $output/kernel
initrd = $output/initrd.img
append = console=$console panic=-1 mitigations=off cryptomgr.notests$quicker
ssh_key = $output/id_ed25519
END
	[ "$arch" = "$native" ] || echo "program = qemu-system-$(echo "$arch" | sed 's/arm64/aarch64/')"
}

main() {
	parse "$@"
	native=$(architecture "$(uname -m)")
	arch=$(architecture "${arch:-$native}")
	case $arch in x86_64) debian=amd64 ;; *) debian=$arch ;; esac
	[ "$arch" != "$native" ] || host_root=
	: "${output:=${XDG_DATA_HOME:-$HOME/.local/share}/poolfs/guest}"
	need cpio cpio
	need flock util-linux
	mkdir -p "$output"
	output=$(absolute "$output")
	exec 9>"$output/.lock"
	flock 9
	stamp="recipe $recipe arch $arch kernel ${kernel:-distribution} modules ${module_directory:-} $wanted"
	if [ "$force" = no ] && [ -s "$output/kernel" ] && [ -s "$output/initrd.img" ] &&
		[ -s "$output/id_ed25519" ] && [ "$(cat "$output/made" 2>/dev/null)" = "$stamp" ]; then
		say "everything is there already (--force makes it anew)"
		finish
		return
	fi
	work=$(mktemp -d "${TMPDIR:-/tmp}/poolfs-mkguest.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	parts=$work/parts
	root=$work/root
	mkdir -p "$parts" "$root/etc" "$root/bin" "$root/lib"
	umask 022
	make_keys
	if [ -n "$kernel" ]; then given_kernel; else fetch_kernel; fi
	programs
	configuration
	add_modules
	pack
	finish
}

main "$@"
