/* SPDX-License-Identifier: MIT */
#include "backends/shellfiles/program.h"

#include <stdbool.h>

#include "backends/base/shell.h"

/* In words that csh and fish take, too. */
const char program_command[] = "exec sh -c 'while IFS= read -r l; do eval \"$l\"; done'";

/*
 * The program, a line for each function. Nothing but what POSIX has is used unless it was looked for.
 *
 * Arguments in this order: paths (relative, from "./"), device and inode of an open file, the rest; "-" is none.
 * Variables: T token, n number of the request, U the login's umask; found at the start: S and F the
 * command for attributes (S empty: ls), L whether find lists directories, W whether dd reads whole
 * blocks, H and Q touch's options, V mv's and N ln's -T, R readlink, K stat -f, Y sync.
 */
static const char functions[] =
	/* The end of an answer. */
	"ok() { printf '\\n%s %s 0\\n' $T $n || exit; }\n"
	"no() { printf '\\n%s %s %s\\n' $T $n $1 || exit; }\n"
	"ex() { [ -e \"$1\" ] || [ -L \"$1\" ]; }\n"
	"dr() { [ -d \"$1\" ] && ! [ -L \"$1\" ]; }\n"
	/* Attributes: device inode mode size uid gid links atime mtime name/. ls has no device, three words
	   for one time, and "major, minor" for the size of what is no file. */
	"at() { if [ -n \"$S\" ]; then $S \"$F\" \"$@\"; else for f; do la \"$f\" || return; done; fi; }\n"
	"la() { ls -lind \"$1\" | { read -r i m l u g s a b c d && { case $s in *,) s=0 a=$b b=$c c=${d%% *};; "
	"esac; printf '%s\\n' \"0 $i $m $s $u $g $l $a $b $c $1/\"; }; }; }\n"
	"ga() { if at \"$1\"; then ok; else no m; fi; }\n"
	/* The attributes of PATH, in a; with one process less than $(at). */
	"st() { if [ -n \"$S\" ]; then a=$($S \"$F\" \"$1\"); else a=$(la \"$1\"); fi; }\n"
	/* Fails with the message about what cannot be looked at. */
	"ms() { at \"$1\" >/dev/null; no m; }\n"
	/* Whether PATH is still the open file DEVICE INODE; else why not, in e. */
	"ck() { e=m; st \"$1\" || return 1; e=ESTALE; case $a in \"$2 $3 \"*) return 0;; esac; return 1; }\n"
	"gh() { if ck \"$1\" $2 $3; then printf '%s\\n' \"$a\"; ok; else no $e; fi; }\n"
	/* The owner's own file, opened before its mode said no, and back. */
	"al() { g=; case $2 in *r*) [ -r \"$1\" ] || g=r;; esac; case $2 in *w*) [ -w \"$1\" ] || g=${g}w;; esac; "
	"[ -z \"$g\" ] || chmod u+$g \"$1\" 2>/dev/null || g=; }\n"
	"un() { [ -z \"$g\" ] || chmod u-$g \"$1\" 2>/dev/null; g=; }\n"
	/* PATH READ? CREATE? EXCLUSIVE? TRUNCATE? ... of an existing file: whether it may be. */
	"oe() { if [ $4 = 1 ]; then no EEXIST; elif [ -L \"$1\" ]; then no ELOOP; elif [ -d \"$1\" ]; then no EISDIR; "
	"elif ! [ -f \"$1\" ]; then no ENXIO; else case $2 in *r*) [ -r \"$1\" ] || { no EACCES; return 1; };; esac; "
	"case $2 in *w*) [ -w \"$1\" ] || { no EACCES; return 1; };; esac; "
	"[ $5 = - ] || true >\"$1\" || { no m; return 1; }; return 0; fi; return 1; }\n"
	/* PATH ... EXCLUSIVE - UMASK MODE: makes it. */
	"oc() { umask $6; if [ $4 = 1 ]; then set -C; true >\"$1\"; else true >>\"$1\"; fi; r=$?; set +C; umask $U; "
	"if [ $r != 0 ]; then if [ $4 = 1 ] && ex \"$1\"; then no EEXIST; else no m; fi; return 1; fi; "
	"[ $7 = - ] || chmod $7 \"$1\" || { no m; return 1; }; }\n"
	/* PATH ACCESS CREATE EXCLUSIVE TRUNCATE UMASK MODE LENGTH: the attributes, and all of a small file. */
	"op() { if ex \"$1\"; then oe \"$@\" || return; elif [ $3 = 1 ]; then oc \"$@\" || return; "
	"else ms \"$1\"; return; fi; st \"$1\" || { no m; return; }; printf '%s\\n' \"$a\"; "
	"s=${a#* * * }; s=${s%% *}; "
	"if [ $s -gt 0 ] && [ $s -le $8 ]; then { dd bs=$8 count=1 <\"$1\"; } 2>/dev/null; fi; ok; }\n"
	/* PATH DEVICE INODE HOW SIZE SKIP COUNT: reads blocks, or from any byte on. */
	"rd() { ck \"$1\" $2 $3 || { no $e; return; }; e=EIO; al \"$1\" r; if [ -r \"$1\" ]; then printf '%s\\n' \"$a\"; "
	"{ if [ $4 = b ]; then dd bs=$5 skip=$6 count=$7; else dd bs=1 skip=$6 count=0; dd bs=$5 count=1; "
	"fi <\"$1\"; } 2>/dev/null; r=$?; else r=1 e=EACCES; fi; un \"$1\"; "
	"if [ $r = 0 ]; then ok; else no $e; fi; }\n"
	/* SIZE BLOCK OPERAND...: takes a write's bytes. */
	"wi() { s=$1 o=$2; shift 2; if [ -n \"$W\" ]; then dd ibs=$s count=1 iflag=fullblock obs=$o conv=notrunc \"$@\" "
	"<&3; else dd ibs=1 count=$s obs=$o conv=notrunc \"$@\" <&3; fi; }\n"
	/* PATH DEVICE INODE SIZE HOW BLOCK SEEK: the bytes are taken in any case, or the shell ends. */
	"wr() { x= r=1; if ck \"$1\" $2 $3; then e=m; al \"$1\" rw; case $5 in "
	"b) { x=1; wi $4 $6 seek=$7; r=$?; } 1<>\"$1\";; "
	"a) { x=1; wi $4 $6; r=$?; } >>\"$1\";; "
	"*) { x=1; dd bs=1 seek=$7 count=0 conv=notrunc 2>/dev/null && wi $4 $6; r=$?; } 1<>\"$1\";; esac; un \"$1\"; fi; "
	"[ -n \"$x\" ] || wi $4 $4 >/dev/null 2>&1; if [ $r = 0 ]; then ok; else [ $r != 153 ] || e=EFBIG; no $e; fi; "
	"[ $r = 0 ] || [ -z \"$x\" ] || [ -n \"$W\" ] || exit; }\n"
	/* PATH SIZE */
	"sz() { e=m; if [ -L \"$1\" ]; then e=ELOOP; elif [ -d \"$1\" ]; then e=EISDIR; "
	"elif [ -f \"$1\" ]; then o=$(dd of=\"$1\" bs=1 seek=$2 count=0 2>&1) && return 0; printf '%s\\n' \"$o\"; "
	"elif ex \"$1\"; then e=EINVAL; else at \"$1\"; fi; return 1; }\n"
	/* PATH ATIME MTIME */
	"tm() { e=m h=; if [ -L \"$1\" ]; then e=EOPNOTSUPP; [ -n \"$H\" ] || return 1; h=-h e=m; fi; "
	"if [ $2 = $3 ] || [ -z \"$Q\" ]; then touch -c $h -t $3 \"$1\"; "
	"else touch -c $h -a -t $2 \"$1\" && touch -c $h -m -t $3 \"$1\"; fi; }\n"
	/* PATH SIZE OWNER MODE ATIME MTIME; g is what `un` takes back. */
	"se() { e=m; [ $2 = - ] || sz \"$1\" $2 || { un \"$1\"; no $e; return; }; un \"$1\"; "
	"[ $3 = - ] || chown -h $3 \"$1\" || { no m; return; }; "
	"if [ $4 != - ]; then if [ -L \"$1\" ]; then no EOPNOTSUPP; return; fi; chmod $4 \"$1\" || { no m; return; }; fi; "
	"[ $5 = - ] || tm \"$1\" $5 $6 || { no $e; return; }; ga \"$1\"; }\n"
	"sp() { g=; se \"$@\"; }\n"
	"so() { ck \"$1\" $2 $3 || { no $e; return; }; g=; [ $4 = - ] || al \"$1\" w; p=$1; shift 3; se \"$p\" \"$@\"; }\n"
	"rl() { if [ -L \"$1\" ]; then if [ -n \"$R\" ]; then readlink \"$1\"; else ls -ld \"$1\"; fi && ok || no m; "
	"elif ex \"$1\"; then no EINVAL; else ms \"$1\"; fi; }\n"
	/* TARGET PATH */
	"sl() { if ex \"$2\"; then no EEXIST; elif ln -s $N -- \"$1\" \"$2\"; then ga \"$2\"; else no m; fi; }\n"
	/* A hard link, of a link itself too. */
	"hl() { if [ -L \"$1\" ]; then ln -P $N \"$1\" \"$2\" 2>/dev/null || { ln $N \"$1\" \"$2\" && { [ -L \"$2\" ] || "
	"{ rm -f \"$2\"; false; }; }; }; else ln $N \"$1\" \"$2\"; fi; }\n"
	"lk() { if ex \"$2\"; then no EEXIST; elif dr \"$1\"; then no EPERM; elif hl \"$1\" \"$2\"; then ga \"$2\"; "
	"else no m; fi; }\n"
	/* PATH UMASK MODE */
	"md() { umask $2; mkdir \"$1\"; r=$?; umask $U; if [ $r = 0 ]; then [ $3 = - ] || chmod $3 \"$1\"; ga \"$1\"; "
	"elif ex \"$1\"; then no EEXIST; else no m; fi; }\n"
	/* PATH KEEP: removes, or moves out of sight what is open here. */
	"ul() { if dr \"$1\"; then no EISDIR; elif ! ex \"$1\"; then ms \"$1\"; "
	"elif if [ $2 = - ]; then rm -f \"$1\"; else mv -f $V \"$1\" $2; fi; then ok; else no m; fi; }\n"
	"rv() { if rmdir \"$1\"; then ok; elif dr \"$1\"; then no m; elif ex \"$1\"; then no ENOTDIR; else no m; fi; }\n"
	/* Whether two lines of attributes are of one file. */
	"sa() { i=${1#* }; j=${2#* }; [ \"${1%% *} ${i%% *}\" = \"${2%% *} ${j%% *}\" ]; }\n"
	/* A directory over nothing, or an empty one. busybox' -T refuses the latter. */
	"mb() { if [ -n \"$V\" ] && mv -f $V \"$1\" \"$2\" 2>/dev/null; then return 0; fi; "
	"if [ -d \"$2\" ]; then rmdir \"$2\" || return; fi; mv -f $V \"$1\" \"$2\"; }\n"
	/* A name that must be free: a link or directory is made only where there is nothing. */
	"mn() { if [ -n \"$d\" ]; then if mkdir \"$2\"; then mb \"$1\" \"$2\" && return; rmdir \"$2\" 2>/dev/null; false; fi; "
	"elif hl \"$1\" \"$2\" 2>/dev/null; then rm -f \"$1\" && return; rm -f \"$2\"; false; "
	"elif ex \"$2\"; then false; else mv -f $V \"$1\" \"$2\"; fi; }\n"
	/* What is no directory, over anything that is none. A link is replaced, not followed: without -T it goes
	   first. So do targets at which mv stops, though they are others: GNU's if the source is a link that leads
	   there, busybox' if they are links that lead to themselves or to a directory. */
	"mf() { [ -n \"$V\" ] || ! [ -L \"$2\" ] || rm -f \"$2\"; o=$(mv -f $V \"$1\" \"$2\" 2>&1) && return; r=; "
	"case $o in *'same file') r=1;; *'ymbolic link'*|*'s a directory') "
	"[ -L \"$2\" ] && { [ -d \"$2\" ] || ! [ -e \"$2\" ]; } && r=1;; esac; "
	"[ -n \"$r\" ] && rm -f \"$2\" && mv -f $V \"$1\" \"$2\" && return; printf '%s\\n' \"$o\"; return 1; }\n"
	/* FROM TO: whether what has the new name may be replaced; else why not, in e (0: it is the same file). */
	"rp() { b=$a; st \"$2\" || return 1; e=0; ! sa \"$a\" \"$b\" || return 1; "
	"if dr \"$2\"; then e=EISDIR; [ -n \"$d\" ]; else e=ENOTDIR; [ -z \"$d\" ]; fi; }\n"
	/* FROM TO: whether both are in one filesystem, for mv would copy. */
	"sd() { [ \"${1%/*}\" != \"${2%/*}\" ] || return 0; b=$a; e=m; st \"${2%/*}/.\" || return; e=EXDEV; "
	"[ \"${a%% *}\" = \"${b%% *}\" ] || return; a=$b; }\n"
	/* FROM TO NOREPLACE KEEP */
	"rn() { st \"$1\" || { no m; return; }; sd \"$1\" \"$2\" || { no $e; return; }; e=m d=; ! dr \"$1\" || d=1; "
	"if [ $3 = 1 ]; then if ex \"$2\"; then no EEXIST; elif mn \"$1\" \"$2\"; then ok; elif ex \"$2\" && ex \"$1\"; "
	"then no EEXIST; else no m; fi; return; fi; "
	"if ex \"$2\"; then rp \"$1\" \"$2\" || { [ $e != 0 ] || echo =; no $e; return; }; [ $4 = - ] || ln \"$2\" $4 2>/dev/null; fi; "
	"if if [ -n \"$d\" ]; then mb \"$1\" \"$2\"; else mf \"$1\" \"$2\"; fi; then ok; "
	"else [ $4 = - ] || rm -f $4; no m; fi; }\n"
	"sy() { if [ -z \"$Y\" ]; then no ENOSYS; elif sync \"$1\"; then ok; else no m; fi; }\n"
	"sc() { if ck \"$1\" $2 $3; then sy \"$1\"; else no $e; fi; }\n"
	"sf() { if [ -n \"$K\" ]; then stat -f -c '%S %b %f %a %c %d %l' \"$1\"; else df -P -k \"$1\"; fi && ok || no m; }\n"
	/* The entries of the working directory, as `at`. */
	"li() { if [ -n \"$L\" ]; then find . ! -name . -prune -exec $S \"$F\" {} +; else set +f; "
	"for e in ./* ./.[!.]* ./..?*; do ! ex \"$e\" || at \"$e\"; done; set -f; fi; }\n"
	"dl() { if dr \"$1\"; then if [ -r \"$1\" ] && (cd \"$1\" 2>/dev/null || exit; li 2>/dev/null; exit 0); then ok; "
	"else no EACCES; fi; elif ex \"$1\"; then no ENOTDIR; else ms \"$1\"; fi; }\n"
	/* FROM DEVICE INODE TO DEVICE INODE OFFSET OFFSET LENGTH: prints how much there was to copy. */
	"cy() { ck \"$4\" $5 $6 && ck \"$1\" $2 $3 || { no $e; return; }; s=${a#* * * }; c=$((${s%% *} - $7)); "
	"[ $c -le $9 ] || c=$9; [ $c -gt 0 ] || c=0; b=$((c / 65536)) r=$((c % 65536)); "
	"{ dd bs=1 skip=$7 count=0 && dd bs=1 seek=$8 count=0 conv=notrunc && "
	"{ [ $b = 0 ] || dd bs=65536 count=$b conv=notrunc; } && { [ $r = 0 ] || dd bs=$r count=1 conv=notrunc; }; } "
	"<\"$1\" 1<>\"$4\" 2>/dev/null && { printf '%s\\n' $c; ok; } || no EIO; }\n";

/* Which tools there are, and which options they know. X is nowhere. */
static const char probes[] =
	"X=/.poolfs-none-$T; U=$(umask); S= F= L= W= H= Q= V= N= R= K= Y=\n"
	"f='%d %i %f %s %u %g %h %X %Y %n/'; case $(stat -c \"$f\" / 2>/dev/null) in [0-9]*' //') S='stat -c' F=$f;; esac\n"
	"f='%d %i %Xp %z %u %g %l %a %m %N/'; [ -n \"$S\" ] || case $(stat -f \"$f\" / 2>/dev/null) in [0-9]*' //') "
	"S='stat -f' F=$f;; esac\n"
	"[ -z \"$S\" ] || case $(find / -prune -exec echo x {} + 2>/dev/null) in 'x /') L=1;; esac\n"
	"case $(printf abcd | dd ibs=4 count=1 iflag=fullblock obs=2 conv=notrunc 2>/dev/null) in abcd) W=1;; esac\n"
	"touch -c -h -t 197001010000.00 $X 2>/dev/null && H=1\n"
	"touch -c -a -t 197001010000.00 $X 2>/dev/null && touch -c -m -t 197001010000.00 $X 2>/dev/null && Q=1\n"
	"case $(mv -f -T $X $X.x 2>&1) in *'o such'*) V=-T;; esac\n"
	"case $(ln -T $X $X.x 2>&1) in *'o such'*) N=-T;; esac\n"
	"readlink / >/dev/null 2>&1; [ $? -ge 126 ] || R=1\n"
	"stat -f -c '%S %b %f %a %c %d %l' / >/dev/null 2>&1 && K=1\n"
	"command -v sync >/dev/null 2>&1 && Y=1\n";

/* Its standard input is fd 3, so that no tool takes what is meant for the shell. */
static const char loop[] =
	"n=0; ok\n"
	"n=1; at . && printf '%s\\n' \"$U\" \"${S:-ls} ${L:-0} ${W:-0} ${H:-0} ${Q:-0} ${V:-0} ${N:-0} ${R:-0} ${K:-0} ${Y:-0}\" && "
	"date -u '+%Y %m %d %H %M' && pwd -P && ok || no m\n"
	"exec 3<&0 </dev/null; while IFS= read -r l <&3; do case $l in \"$T \"*) eval \"${l#* }\";; *) exit 99;; esac; done; "
	"exit\n";

/* Appends all. */
void program_append(struct text *out, const char token[PROGRAM_TOKEN + 1])
{
	text_printf(out, "exec 2>&1; unset IFS; export LC_ALL=C TZ=UTC0; set -f; T=%s\n", token);
	text_append(out, functions, sizeof(functions) - 1);
	text_append(out, probes, sizeof(probes) - 1);
	text_append(out, loop, sizeof(loop) - 1);
}

/* Whether all of it can stand between single quotes on one line. */
static bool is_plain(const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] < ' ' || bytes[i] > '~')
			return false;
	return true;
}

/* As printf's %b takes it. */
static void append_octal(struct text *out, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		if (byte <= ' ' || byte > '~' || byte == '\'' || byte == '\\')
			text_printf(out, "\\0%03o", byte);
		else
			text_append(out, bytes + i, 1);
	}
}

/* Sets a variable. "." keeps "$(...)" from removing newlines at the end. */
void program_set(struct text *out, char name, const char *bytes, size_t size)
{
	text_printf(out, "%c=", name);
	if (is_plain(bytes, size)) {
		shell_word(out, bytes, size);
		text_printf(out, "; ");
		return;
	}
	text_printf(out, "$(printf '%%b.' '");
	append_octal(out, bytes, size);
	text_printf(out, "'); %c=${%c%%.}; ", name, name);
}

/* Sets a path. */
void program_path(struct text *out, char name, const char *path)
{
	struct text full = { 0 };

	text_printf(&full, "./%s", *path ? path : ".");
	program_set(out, name, full.data, full.size);
	text_done(&full);
}
