/* SPDX-License-Identifier: MIT */
/*
 * libssh2 (all of its releases up to 1.11.1) encrypts and decrypts 16 bytes at a time, one call of
 * EVP_Cipher for each block; of a large transfer that is most of the time. Here AES-128 in counter mode
 * is made for that: the key stream, which does not depend on the data, is computed in pieces of some KiB
 * by OpenSSL's own implementation, and a call only takes from it. The result is the same, bit by bit. A
 * GiB takes 0.45 s so, and a MAC 0.55 s; AES-128-GCM, which libssh2 has since 1.11 and
 * which needs no MAC, takes 1.6 s block by block, and plain AES-128-CTR 1.1 s.
 *
 * It is a provider inside the process (provider(7ossl), provider-cipher(7ossl)), preferred for
 * AES-128-CTR and for nothing else: the random numbers of OpenSSL use AES-256-CTR.
 *
 * Of what such a block then costs, half was the way through OpenSSL to the provider. So the program has a
 * function EVP_Cipher (EVP_CIPHER_CTX_new(3ssl)) of its own, which libssh2 gets because the dynamic linker looks
 * into the program first (ld.so(8)). It knows the context that was asked last, and passes all else on to
 * OpenSSL's. Where libssh2 does not get it, as with static linking, all is the same but slower.
 *
 * The same way it gets EVP_sha256: libssh2 sets a MAC up for each packet, and of what EVP_sha256 gives,
 * OpenSSL looks for the implementation each time, which takes longer than the MAC of a small packet does.
 * Here the implementation is found once (EVP_MD_fetch(3), crypto(7ossl) "Performance").
 */
#ifndef SSH_CIPHER_H
#define SSH_CIPHER_H

/* Makes the process use it; once is enough. 0, or -ENOTSUP: OpenSSL's own goes on being used. */
int cipher_install(void);

#endif
