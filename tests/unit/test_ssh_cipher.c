/* SPDX-License-Identifier: MIT */
#include "backends/ssh/cipher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#define SIZE 100000

static unsigned char plain[SIZE], expected[SIZE], got[SIZE];

/* A context of the cipher that a plain EVP_aes_128_ctr() leads to, as libssh2 makes it. */
static EVP_CIPHER_CTX *context(const unsigned char *key, const unsigned char *iv, int encrypt)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

	assert_int_equal(EVP_CipherInit(context, EVP_aes_128_ctr(), key, iv, encrypt), 1);
	return context;
}

/* What OpenSSL's own makes of it. */
static void reference(const unsigned char *key, const unsigned char *iv)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-128-CTR", "provider=default");
	EVP_CIPHER_CTX *own = EVP_CIPHER_CTX_new();
	int size;

	assert_int_equal(EVP_EncryptInit_ex2(own, cipher, key, iv, NULL), 1);
	assert_int_equal(EVP_EncryptUpdate(own, expected, &size, plain, SIZE), 1);
	assert_int_equal(size, SIZE);
	EVP_CIPHER_CTX_free(own);
	EVP_CIPHER_free(cipher);
}

/* It is the one that is used, for this cipher alone. */
static void test_installed(void **state)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-128-CTR", NULL);

	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)), "poolfs");
	EVP_CIPHER_free(cipher);
	cipher = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)), "default");
	EVP_CIPHER_free(cipher);
	assert_int_equal(cipher_install(), 0);
}

/* Blocks of 16 bytes in place, as libssh2 does it, under counters that carry over all their bytes. */
static void test_blocks(void **state)
{
	unsigned char key[16], iv[16];

	for (int round = 0; round < 4; round++) {
		assert_int_equal(RAND_bytes(key, sizeof(key)), 1);
		assert_int_equal(RAND_bytes(plain, SIZE), 1);
		memset(iv, 0xff, sizeof(iv));
		iv[15] = (unsigned char)(0xff - round);
		iv[0] = (unsigned char)(round % 2 ? 0xff : 0x12);
		reference(key, iv);
		for (int encrypt = 0; encrypt < 2; encrypt++) {
			EVP_CIPHER_CTX *one = context(key, iv, encrypt);

			memcpy(got, plain, SIZE);
			for (size_t at = 0; at < SIZE; at += 16)
				assert_true(EVP_Cipher(one, got + at, got + at, 16) > 0);
			assert_memory_equal(got, expected, SIZE);
			EVP_CIPHER_CTX_free(one);
		}
	}
}

/* Pieces of any size, and a copy of a context in the middle. */
static void test_pieces(void **state)
{
	static const unsigned char key[16] = "sixteen bytes...", iv[16] = { 1 };
	EVP_CIPHER_CTX *one = context(key, iv, 1), *copy = EVP_CIPHER_CTX_new();
	int size;

	reference(key, iv);
	srandom(1);
	for (int at = 0; at < SIZE; at += size) {
		int want = (int)(random() % 9000);

		want = want < SIZE - at ? want : SIZE - at;
		assert_int_equal(EVP_CIPHER_CTX_copy(copy, one), 1);
		assert_int_equal(EVP_EncryptUpdate(copy, got + at, &size, plain + at, want), 1);
		assert_memory_equal(got + at, expected + at, want);
		memset(got + at, 0, (size_t)want);
		assert_int_equal(EVP_EncryptUpdate(one, got + at, &size, plain + at, want), 1);
		assert_int_equal(size, want);
	}
	assert_memory_equal(got, expected, SIZE);
	EVP_CIPHER_CTX_free(copy);
	EVP_CIPHER_CTX_free(one);
}

/* A context that is used again starts anew. */
static void test_again(void **state)
{
	static const unsigned char key[16] = "sixteen bytes...", iv[16] = { 1 };
	EVP_CIPHER_CTX *one = context(key, iv, 1);
	int size;

	reference(key, iv);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(EVP_EncryptUpdate(one, got, &size, plain, 1000 * i + 5), 1);
		assert_memory_equal(got, expected, size);
		assert_int_equal(EVP_EncryptInit_ex(one, NULL, NULL, key, iv), 1);
	}
	EVP_CIPHER_CTX_free(one);
}

static int set_up(void **state)
{
	return cipher_install();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_installed),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_again),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
