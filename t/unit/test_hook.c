/*
 * Copyright (C) the ngx_http_batch_module authors
 */

#include "batch_hook.h"
#include "test.h"

#define BATCH  "batch_0123456789abcdef0123456789abcdef"


/* published with the Standard Webhooks: secret, message, what it must give */

static void
test_vector(void)
{
    int          rc;
    char         signature[BATCH_HOOK_SIGNATURE];
    batch_str_t  key, body;

    /* whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw */

    static const unsigned char  secret[] = {
        0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a,
        0xab, 0x4f, 0x08, 0xd4, 0x3c, 0x3f, 0x08, 0x2c,
        0xf6, 0x48, 0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0
    };

    static const batch_str_t  text = batch_string("{\"test\": 2432232314}");

    key.data = test_copy(secret, sizeof(secret));
    key.len = sizeof(secret);
    body.data = test_copy(text.data, text.len);
    body.len = text.len;

    rc = batch_hook_sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                         &body, signature);

    ok(rc == BATCH_OK, "signed");
    ok(strcmp(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
       == 0, "signature %s", signature);

    rc = batch_hook_sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265331,
                         &body, signature);

    ok(rc == BATCH_OK, "signed a second later");
    ok(strcmp(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
       != 0, "the time is signed, too");

    ok(batch_hook_sign(&key, BATCH BATCH, 1, &body, signature) == BATCH_ERROR,
       "no id of ours is so long");

    free((void *) key.data);
    free((void *) body.data);
}


/* computed with another implementation of SHA-256 */

static void
test_ids(void)
{
    char  id[BATCH_HOOK_ID], other[BATCH_HOOK_ID];

    ok(batch_hook_id("wh_", BATCH, BATCH_COMPLETED, id) == BATCH_OK, "id");
    ok(strcmp(id, "wh_d5f0de288268e9c8bdcc0ed983c669a6") == 0, "%s", id);

    ok(batch_hook_id("evt_", BATCH, BATCH_COMPLETED, id) == BATCH_OK, "id");
    ok(strcmp(id, "evt_6d8bb1764a797581e91e73bfb00674bb") == 0, "%s", id);

    ok(batch_hook_id("evt_", BATCH, BATCH_FAILED, other) == BATCH_OK, "id");
    ok(strcmp(id, other) != 0, "each event has its own");

    ok(batch_hook_id("evento_", BATCH, BATCH_FAILED, other) == BATCH_ERROR,
       "a prefix that leaves no room");
}


static void
test_body(void)
{
    int   n;
    char  body[BATCH_HOOK_BODY];

    static const char  want[] =
        "{\"id\":\"evt_6d8bb1764a797581e91e73bfb00674bb\","
        "\"object\":\"event\",\"created_at\":1719168000,"
        "\"type\":\"batch.completed\",\"data\":{\"id\":\"" BATCH "\"}}";

    n = batch_hook_body(BATCH, BATCH_COMPLETED, 1719168000, body);

    ok(n == (int) strlen(want), "length %d", n);
    ok(strcmp(body, want) == 0, "%s", body);

    /* the longest there can be */

    ok(batch_id_check(BATCH_ID_BATCH, (const unsigned char *) BATCH,
                      strlen(BATCH)),
       "a batch's id");
    ok(batch_hook_body(BATCH, BATCH_COMPLETED, INT64_MIN, body) > 0,
       "it has room");
}


static void
test_receiver(void)
{
    char         one[BATCH_HOOK_RECEIVER], two[BATCH_HOOK_RECEIVER];
    batch_str_t  a, ab, b, none;

    a.data = (u_char *) "a";
    a.len = 1;
    ab.data = (u_char *) "ab";
    ab.len = 2;
    b.data = (u_char *) "b";
    b.len = 1;
    none.data = (u_char *) "";
    none.len = 0;

    batch_hook_receiver(&a, &b, one);
    ok(strspn(one, "0123456789abcdef") == 16 && one[16] == '\0', "receiver");

    batch_hook_receiver(&a, &b, two);
    ok(strcmp(one, two) == 0, "receiver");

    batch_hook_receiver(&ab, &none, two);
    ok(strcmp(one, two) != 0, "receiver");

    batch_hook_receiver(&a, &none, two);
    ok(strcmp(one, two) != 0, "receiver");
}


int
main(void)
{
    test_vector();
    test_ids();
    test_body();
    test_receiver();

    return test_done("hook");
}
