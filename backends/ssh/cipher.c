/* SPDX-License-Identifier: MIT */
#include "backends/ssh/cipher.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#define KEY_SIZE 16u
#define IV_SIZE	 16u
#define BLOCK_SIZE 16u

/* How much key stream is made at once: small enough for the first cache, large enough that the call is
 * cheap. */
#define STREAM_SIZE  4096u

struct counter {
	EVP_CIPHER_CTX *real;		/* OpenSSL's own, which makes the key stream */
	size_t used;			/* of the stream; STREAM_SIZE: none is left */
	unsigned char stream[STREAM_SIZE];
};

/* The context that was last asked for a block through EVP_Cipher, and its counter, which it has until
 * counter_free; and the counter that was last asked by OpenSSL. */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct {
	const EVP_CIPHER_CTX *context;
	struct counter *counter;
} last;
static _Thread_local struct counter *served;

/* Of every context: OpenSSL's own cipher; there is one for the process. */
static EVP_CIPHER *real_cipher;
/* What EVP_sha256 gives; NULL: what OpenSSL's does. */
static EVP_MD *found_digest;
/* Both stay loaded as long as the process lives. */
static OSSL_PROVIDER *default_provider, *own_provider;

/* OSSL_FUNC_CIPHER_NEWCTX */
static void *counter_new(void *provider)
{
	struct counter *counter = calloc(1, sizeof(*counter));

	if (counter)
		counter->real = EVP_CIPHER_CTX_new();
	if (counter && !counter->real) {
		free(counter);
		return NULL;
	}
	return counter;
}

/* OSSL_FUNC_CIPHER_FREECTX: nothing of the keys stays behind. */
static void counter_free(void *data)
{
	struct counter *counter = data;

	if (!counter)
		return;
	if (last.counter == counter)
		last.context = NULL;
	EVP_CIPHER_CTX_free(counter->real);
	explicit_bzero(counter, sizeof(*counter));
	free(counter);
}

/* OSSL_FUNC_CIPHER_DUPCTX */
static void *counter_dup(void *data)
{
	const struct counter *counter = data;
	struct counter *copy = counter_new(NULL);

	if (!copy)
		return NULL;
	if (!EVP_CIPHER_CTX_copy(copy->real, counter->real)) {
		counter_free(copy);
		return NULL;
	}
	copy->used = counter->used;
	memcpy(copy->stream, counter->stream, sizeof(copy->stream));
	return copy;
}

/* OSSL_FUNC_CIPHER_ENCRYPT_INIT and _DECRYPT_INIT: in this mode they are the same. */
static int counter_init(void *data, const unsigned char *key, size_t key_size, const unsigned char *iv,
	size_t iv_size, const OSSL_PARAM params[])
{
	struct counter *counter = data;

	if ((key && key_size != KEY_SIZE) || (iv && iv_size != IV_SIZE))
		return 0;
	counter->used = STREAM_SIZE;
	return EVP_EncryptInit_ex2(counter->real, real_cipher, key, iv, NULL);
}

/* Makes the next piece of the key stream: what zeros are encrypted to. */
static int refill(struct counter *counter)
{
	static const unsigned char zeros[STREAM_SIZE];
	int size = 0;

	counter->used = 0;
	return EVP_EncryptUpdate(counter->real, counter->stream, &size, zeros, STREAM_SIZE) &&
		size == STREAM_SIZE;
}

/* Any number of bytes. */
static __attribute__((noinline)) int mix(struct counter *counter, unsigned char *out, const unsigned char *in, size_t size)
{
	while (size > 0) {
		if (counter->used == STREAM_SIZE && !refill(counter))
			return 0;
		size_t left = STREAM_SIZE - counter->used, part = size < left ? size : left;
		const unsigned char *stream = counter->stream + counter->used;

		for (size_t i = 0; i < part; i++)
			out[i] = in[i] ^ stream[i];
		counter->used += part;
		in += part;
		out += part;
		size -= part;
	}
	return 1;
}

/* One block, if there is key stream for it: in few instructions, as there are 67 million of them in a
 * GiB. */
static inline bool mix_block(struct counter *counter, unsigned char *out, const unsigned char *in)
{
	typedef uint64_t block __attribute__((vector_size(BLOCK_SIZE), aligned(1), may_alias));
	size_t used = counter->used;

	if (used > STREAM_SIZE - BLOCK_SIZE)
		return false;
	*(block *)out = *(const block *)in ^ *(const block *)(counter->stream + used);
	counter->used = used + BLOCK_SIZE;
	return true;
}

/* OSSL_FUNC_CIPHER_CIPHER, and _UPDATE. */
static int counter_cipher(void *data, unsigned char *out, size_t *out_size, size_t room,
	const unsigned char *in, size_t size)
{
	struct counter *counter = data;

	if (room < size)
		return 0;
	*out_size = size;
	served = counter;
	return (size == BLOCK_SIZE && mix_block(counter, out, in)) || mix(counter, out, in, size);
}

/* OpenSSL's own EVP_Cipher, which may come to counter_cipher: then the next call need not go there. */
static __attribute__((noinline)) int ask_openssl(EVP_CIPHER_CTX *context, unsigned char *out,
	const unsigned char *in, unsigned size)
{
	typedef int call(EVP_CIPHER_CTX *, unsigned char *, const unsigned char *, unsigned);
	static call *real;

	if (!real)
		real = (call *)dlsym(RTLD_NEXT, "EVP_Cipher");
	if (!real)
		return -1;
	served = NULL;
	int result = real(context, out, in, size);
	if (served) {
		last.context = context;
		last.counter = served;
	}
	return result;
}

/* What libssh2 calls, instead of the function of libcrypto; see cipher.h. */
int EVP_Cipher(EVP_CIPHER_CTX *context, unsigned char *out, const unsigned char *in, unsigned size)
{
	if (context == last.context && size == BLOCK_SIZE && mix_block(last.counter, out, in))
		return BLOCK_SIZE;
	return ask_openssl(context, out, in, size);
}

/* Likewise, see cipher.h. */
const EVP_MD *EVP_sha256(void)
{
	typedef const EVP_MD *call(void);
	static call *real;

	if (found_digest)
		return found_digest;
	if (!real)
		real = (call *)dlsym(RTLD_NEXT, "EVP_sha256");
	return real ? real() : NULL;
}

/* OSSL_FUNC_CIPHER_FINAL: nothing is ever left over. */
static int counter_final(void *data, unsigned char *out, size_t *out_size, size_t room)
{
	*out_size = 0;
	return 1;
}

/* OSSL_FUNC_CIPHER_GET_PARAMS */
static int counter_get_params(OSSL_PARAM params[])
{
	static const struct {
		const char *name;
		size_t value;
	} sizes[] = { { OSSL_CIPHER_PARAM_BLOCK_SIZE, 1 }, { OSSL_CIPHER_PARAM_KEYLEN, KEY_SIZE },
		{ OSSL_CIPHER_PARAM_IVLEN, IV_SIZE } };
	OSSL_PARAM *param = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_MODE);

	if (param && !OSSL_PARAM_set_uint(param, EVP_CIPH_CTR_MODE))
		return 0;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		param = OSSL_PARAM_locate(params, sizes[i].name);
		if (param && !OSSL_PARAM_set_size_t(param, sizes[i].value))
			return 0;
	}
	return 1;
}

/* OSSL_FUNC_CIPHER_GET_CTX_PARAMS: the sizes are those of the cipher. */
static int counter_get_ctx_params(void *data, OSSL_PARAM params[])
{
	return counter_get_params(params);
}

/* OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS */
static const OSSL_PARAM *counter_gettable(void *data, void *provider)
{
	static const OSSL_PARAM params[] = { OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_KEYLEN, NULL),
		OSSL_PARAM_size_t(OSSL_CIPHER_PARAM_IVLEN, NULL), OSSL_PARAM_END };

	return params;
}

/* Functions as the dispatch tables of OpenSSL hold them. */
#define ROW(id, function) { (id), (void (*)(void))(function) }

static const OSSL_DISPATCH counter_functions[] = {
	ROW(OSSL_FUNC_CIPHER_NEWCTX, counter_new),
	ROW(OSSL_FUNC_CIPHER_FREECTX, counter_free),
	ROW(OSSL_FUNC_CIPHER_DUPCTX, counter_dup),
	ROW(OSSL_FUNC_CIPHER_ENCRYPT_INIT, counter_init),
	ROW(OSSL_FUNC_CIPHER_DECRYPT_INIT, counter_init),
	ROW(OSSL_FUNC_CIPHER_UPDATE, counter_cipher),
	ROW(OSSL_FUNC_CIPHER_CIPHER, counter_cipher),
	ROW(OSSL_FUNC_CIPHER_FINAL, counter_final),
	ROW(OSSL_FUNC_CIPHER_GET_PARAMS, counter_get_params),
	ROW(OSSL_FUNC_CIPHER_GET_CTX_PARAMS, counter_get_ctx_params),
	ROW(OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS, counter_gettable),
	{ 0 }
};

static const OSSL_ALGORITHM ciphers[] = {
	{ "AES-128-CTR", "provider=poolfs", counter_functions, "key stream in pieces" },
	{ 0 }
};

/* OSSL_FUNC_PROVIDER_QUERY_OPERATION */
static const OSSL_ALGORITHM *provider_query(void *provider, int operation, int *no_cache)
{
	*no_cache = 0;
	return operation == OSSL_OP_CIPHER ? ciphers : NULL;
}

/* The provider's entry. */
static int provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in,
	const OSSL_DISPATCH **out, void **data)
{
	static const OSSL_DISPATCH functions[] = {
		ROW(OSSL_FUNC_PROVIDER_QUERY_OPERATION, provider_query),
		{ 0 }
	};

	*out = functions;
	*data = NULL;
	return 1;
}

/* Installs it. OpenSSL's own provider has to be named, as it is there by itself only while no other one
 * is. */
int cipher_install(void)
{
	if (real_cipher)
		return 0;
	default_provider = OSSL_PROVIDER_load(NULL, "default");
	if (!default_provider)
		return -ENOTSUP;
	real_cipher = EVP_CIPHER_fetch(NULL, "AES-128-CTR", "provider=default");
	if (real_cipher && OSSL_PROVIDER_add_builtin(NULL, "poolfs", provider_init))
		own_provider = OSSL_PROVIDER_load(NULL, "poolfs");
	if (own_provider && EVP_set_default_properties(NULL, "?provider=poolfs")) {
		found_digest = EVP_MD_fetch(NULL, "SHA256", NULL);
		return 0;
	}
	EVP_CIPHER_free(real_cipher);
	real_cipher = NULL;
	return -ENOTSUP;
}
