/* SPDX-License-Identifier: MIT */
/*
 * libssh2 before 1.11 encrypts and decrypts 16 bytes at a time, one call of EVP_Cipher for each block;
 * of a large transfer that is most of the time. Here AES-128 in counter mode is made for that: the
 * key stream, which does not depend on the data, is computed in pieces of some KiB by OpenSSL's own
 * implementation, and a call only takes from it. The result is the same, bit by bit.
 *
 * It is a provider inside the process (provider(7ossl), provider-cipher(7ossl)), preferred for
 * AES-128-CTR and for nothing else: the random numbers of OpenSSL use AES-256-CTR.
 */
#ifndef SSH_CIPHER_H
#define SSH_CIPHER_H

/* Makes the process use it; once is enough. 0, or -ENOTSUP: OpenSSL's own goes on being used. */
int cipher_install(void);

#endif
