/* SPDX-License-Identifier: MIT */
/* What the numbers and names of SSH and SFTP are on this host. No I/O; any thread. */
#ifndef SSH_ERRORS_H
#define SSH_ERRORS_H

#include <stdint.h>

/* Status codes, draft-ietf-secsh-filexfer-02 section 7. */
enum sftp_status {
	SFTP_OK,
	SFTP_EOF,
	SFTP_NO_SUCH_FILE,
	SFTP_PERMISSION_DENIED,
	SFTP_FAILURE,
	SFTP_BAD_MESSAGE,
	SFTP_NO_CONNECTION,
	SFTP_CONNECTION_LOST,
	SFTP_OP_UNSUPPORTED,
};

/* The negative errno of a status, 0 for SFTP_OK. SFTP_FAILURE, which means anything, is -EIO. */
int errors_status(uint32_t status);

/* The number of a signal by its name without SIG (RFC 4254 section 6.10, and what OpenSSH adds with
 * "@openssh.com"); 0 when it is not known. */
int errors_signal(const char *name);

#endif
