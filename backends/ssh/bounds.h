/* SPDX-License-Identifier: MIT */
/*
 * Every limit of the SSH transport in one place: how long a step may take
 * (milliseconds), and how much of what a server sends is kept.
 */
#ifndef SSH_BOUNDS_H
#define SSH_BOUNDS_H

/* Steps of a connection. The numbers are for slow emulated machines, not for good ones. */
#define LIMIT_RESOLVE	10000u	/* the name look-up */
#define LIMIT_CONNECT	15000u	/* TCP, all addresses together */
#define LIMIT_HANDSHAKE	30000u	/* banner and key exchange */
#define LIMIT_LOGIN	30000u	/* authentication */
#define LIMIT_SESSION	30000u	/* the first channel: commands work from then on */
#define LIMIT_CONTROL	10000u	/* the control shell's first line, and each of its answers */
#define LIMIT_FILES	15000u	/* subsystem, version and root of the file requests */

/* Each answer of the agent, for which the whole process waits. */
#define LIMIT_AGENT	5000

/* No answer to a file request: the connection is given up. Counted from the moment the request was
 * sent, or from the last answer to another one. */
#define LIMIT_ANSWER	10000u
/* The same while an fsync, or the close of a file that was written, is outstanding: the machine's
 * disk may be slow. */
#define LIMIT_SLOW	120000u
/* The same, however many other answers come. */
#define LIMIT_EVER	240000u

/* Lanes (lanes.h). Many at once are few more processes for the machine; a Dropbear server takes 5
 * connections from one address that are not logged in (MAX_UNAUTH_PER_IP). */
#define LIMIT_LANES	8u	/* are made as soon as commands wait */
#define LIMIT_LANES_EVER 64u	/* when commands that do not end have those */
#define LIMIT_LANES_LOGIN 3u	/* log in at a time */
#define LIMIT_LANE_WAIT	1000u	/* none has become free for so long: more */
#define LIMIT_LANE_IDLE	30000u	/* then it ends */
#define LIMIT_LANE_HELD	16384u	/* bytes that were received: more wait for signals to be sent */
#define LIMIT_LANE_RETRY 16000u	/* one that failed is tried again after this time at most */

/* A refused channel is asked for again after this time at most, and when another one closed. */
#define LIMIT_RETRY	1000u

/* A forward's channel that the server neither opens nor refuses: the connection is given up, as libssh2
 * opens no other meanwhile. Longer than Linux tries to connect (127 s). */
#define LIMIT_OPEN	150000u
#define LIMIT_CARRIED	1024u	/* connections through forwards at a time */
#define LIMIT_FEED	(1024u * 1024u)	/* encrypted bytes not yet sent: forwards feed no more */
/* What libssh2 may keep: beyond the first, the forwarded connection with most bytes that its socket
 * does not take is reset; beyond the second, the SSH connection ends. */
#define LIMIT_KEPT	(256u * 1024u * 1024u)
#define LIMIT_MEMORY	(512u * 1024u * 1024u)

#define LIMIT_INPUT	(256u * 1024u)		/* received bytes not yet decrypted */
#define LIMIT_OUTPUT	(4u * 1024u * 1024u)	/* encrypted bytes not yet sent: no more is fed */
#define LIMIT_PACKET	(256u * 1024u + 1024u)	/* one SFTP packet */
#define LIMIT_PIECE	(128u * 1024u)		/* one SFTP read or write */
#define LIMIT_HANDLE	256u			/* bytes of a server's handle */
#define LIMIT_HANDLES	4096u			/* files and directories open at once */
#define LIMIT_ENTRIES	1000000u		/* of one directory; the listing ends there */
#define LIMIT_AHEAD	(512u * 1024u)		/* bytes of a directory read ahead */
#define LIMIT_WHOLE	(256u * 1024u)		/* bytes of a directory that its open waits for */
#define LIMIT_WINDOW	(8u * 1024u * 1024u)	/* bytes of a file read ahead */
#define LIMIT_READ_AHEAD (16u * 1024u * 1024u)	/* and of all files */
#define LIMIT_EXEC	8000u			/* bytes of a command in one request */
#define LIMIT_EXEC_OPENSSH 32000u

/* What a command may send ahead: at first, and when its output flows. The first is also what is kept in
 * memory where nobody takes it. */
#define WINDOW_FIRST	32768u
#define WINDOW_RUN	(2u * 1024u * 1024u)
#define WINDOW_FILES	(16u * 1024u * 1024u)
#define WINDOW_CARRIED	(2u * 1024u * 1024u)	/* as libssh2 gives what the server opens */
#define WINDOW_PACKET	32768u

#endif
