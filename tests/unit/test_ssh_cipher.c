/* SPDX-License-Identifier: MIT */
#include "backends/ssh/cipher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
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
	static const unsigned char key[16] = "fifteen and NUL", iv[16] = { 1 };
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
	static const unsigned char key[16] = "fifteen and NUL", iv[16] = { 1 };
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

/* What OpenSSL's own makes of a block under AES-256-CTR. */
static void other_block(const unsigned char *key, const unsigned char *iv, unsigned char *out)
{
	EVP_CIPHER_CTX *own = EVP_CIPHER_CTX_new();
	int size;

	assert_int_equal(EVP_EncryptInit_ex(own, EVP_aes_256_ctr(), NULL, key, iv), 1);
	assert_int_equal(EVP_EncryptUpdate(own, out, &size, plain, 16), 1);
	EVP_CIPHER_CTX_free(own);
}

/* Contexts whose blocks come in turns, as of both directions of a connection. */
static void test_turns(void **state)
{
	static const unsigned char keys[2][16] = { "one key........", "another key...." }, iv[16] = { 1 };
	static unsigned char all[2][SIZE];
	EVP_CIPHER_CTX *both[2];

	for (int i = 0; i < 2; i++) {
		both[i] = context(keys[i], iv, i);
		reference(keys[i], iv);
		memcpy(all[i], expected, SIZE);
	}
	for (size_t at = 0; at < SIZE; at += 16) {
		for (int i = 0; i < 2; i++) {
			assert_true(EVP_Cipher(both[i], got, plain + at, 16) > 0);
			assert_memory_equal(got, all[i] + at, 16);
		}
	}
	EVP_CIPHER_CTX_free(both[0]);
	EVP_CIPHER_CTX_free(both[1]);
}

/* A context that was asked last, and then is another cipher's. */
static void test_other(void **state)
{
	static const unsigned char key[32] = "thirty-two bytes, or 256 bits..", iv[16] = { 1 };
	unsigned char other[16];

	other_block(key, iv, other);
	reference(key, iv);
	for (int how = 0; how < 3; how++) {
		EVP_CIPHER_CTX *one = context(key, iv, 1);

		assert_true(EVP_Cipher(one, got, plain, 16) > 0);
		assert_true(EVP_Cipher(one, got + 16, plain + 16, 16) > 0);
		assert_memory_equal(got, expected, 32);
		if (how == 1)
			assert_int_equal(EVP_CIPHER_CTX_reset(one), 1);
		if (how == 2) {
			/* The next context most likely has its address. */
			EVP_CIPHER_CTX_free(one);
			one = EVP_CIPHER_CTX_new();
		}
		assert_int_equal(EVP_CipherInit(one, EVP_aes_256_ctr(), key, iv, 1), 1);
		assert_true(EVP_Cipher(one, got, plain, 16) > 0);
		assert_memory_equal(got, other, 16);
		EVP_CIPHER_CTX_free(one);
	}
}

/* A MAC as libssh2 makes it: test case 2 of RFC 4231. The implementation was looked for before. */
static void test_mac(void **state)
{
	static const unsigned char expected_mac[] = { 0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e,
		0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39,
		0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43 };
	static const char text[] = "what do ya want for nothing?";
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned size = 0;

	assert_ptr_not_equal(EVP_MD_get0_provider(EVP_sha256()), NULL);
	assert_ptr_equal(EVP_sha256(), EVP_sha256());
	assert_non_null(HMAC(EVP_sha256(), "Jefe", 4, (const unsigned char *)text, sizeof(text) - 1, mac, &size));
	assert_int_equal(size, sizeof(expected_mac));
	assert_memory_equal(mac, expected_mac, size);
}

/* Calls of libssh2 come here first. */
static void test_preferred(void **state)
{
	static const char *const names[] = { "EVP_Cipher", "EVP_sha256" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_ptr_not_equal(dlsym(RTLD_DEFAULT, names[i]), NULL);
		assert_ptr_not_equal(dlsym(RTLD_NEXT, names[i]), NULL);
		assert_ptr_not_equal(dlsym(RTLD_DEFAULT, names[i]), dlsym(RTLD_NEXT, names[i]));
	}
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
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_other),
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_preferred),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
