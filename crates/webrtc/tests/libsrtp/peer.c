/* The other side of the SRTP tests: libsrtp behind standard input and output.
 *
 * One command a line, one answer a line, bytes as hexadecimal:
 *
 *   open gcm128|gcm256|sha1_80 KEY+SALT KEY+SALT
 *                                         two fresh sessions: one that protects any SSRC under the first master key, one
 *                                         that unprotects any SSRC under the second; replay window 1024
 *   protect HEX, unprotect HEX            an RTP packet
 *   protect_rtcp HEX, unprotect_rtcp HEX  a compound
 *
 * Answers: "ok HEX", "ok", or "error N" with N of srtp_err_status_t. Ends with its input.
 */
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 4096, MAX_LINE = 2 * MAX_BYTES + 64 };

static srtp_t outbound, inbound;

static int from_hex(const char *text, unsigned char *bytes)
{
    int len = 0;
    unsigned int value;
    while (len < MAX_BYTES - SRTP_MAX_TRAILER_LEN && sscanf(text + 2 * len, "%2x", &value) == 1)
        bytes[len++] = (unsigned char)value;
    return len;
}

static void answer(srtp_err_status_t status, const unsigned char *bytes, int len)
{
    if (status != srtp_err_status_ok) {
        printf("error %d\n", (int)status);
    } else {
        printf("ok ");
        for (int i = 0; i < len; i++)
            printf("%02x", bytes[i]);
        printf("\n");
    }
}

static srtp_err_status_t open_sessions(const char *profile, unsigned char *protecting, unsigned char *unprotecting)
{
    srtp_policy_t policy;
    memset(&policy, 0, sizeof policy);
    srtp_profile_t id = srtp_profile_aes128_cm_sha1_80;
    if (strcmp(profile, "gcm128") == 0)
        id = srtp_profile_aead_aes_128_gcm;
    else if (strcmp(profile, "gcm256") == 0)
        id = srtp_profile_aead_aes_256_gcm;
    srtp_err_status_t status = srtp_crypto_policy_set_from_profile_for_rtp(&policy.rtp, id);
    if (status != srtp_err_status_ok)
        return status;
    status = srtp_crypto_policy_set_from_profile_for_rtcp(&policy.rtcp, id);
    if (status != srtp_err_status_ok)
        return status;
    policy.key = protecting;
    policy.window_size = 1024;
    if (outbound != NULL)
        srtp_dealloc(outbound);
    if (inbound != NULL)
        srtp_dealloc(inbound);
    outbound = inbound = NULL;
    policy.ssrc.type = ssrc_any_outbound;
    status = srtp_create(&outbound, &policy);
    if (status != srtp_err_status_ok)
        return status;
    policy.key = unprotecting;
    policy.ssrc.type = ssrc_any_inbound;
    return srtp_create(&inbound, &policy);
}

int main(void)
{
    static char line[MAX_LINE], name[32], profile[32], text[MAX_LINE], other[MAX_LINE];
    static unsigned char bytes[MAX_BYTES], theirs[MAX_BYTES];
    if (srtp_init() != srtp_err_status_ok)
        return 1;
    while (fgets(line, sizeof line, stdin) != NULL) {
        int len;
        if (sscanf(line, "open %31s %8191s %8191s", profile, text, other) == 3) {
            from_hex(text, bytes);
            from_hex(other, theirs);
            answer(open_sessions(profile, bytes, theirs), bytes, 0);
        } else if (sscanf(line, "%31s %8191s", name, text) == 2 && inbound != NULL) {
            srtp_err_status_t status = srtp_err_status_bad_param;
            len = from_hex(text, bytes);
            if (strcmp(name, "protect") == 0)
                status = srtp_protect(outbound, bytes, &len);
            else if (strcmp(name, "unprotect") == 0)
                status = srtp_unprotect(inbound, bytes, &len);
            else if (strcmp(name, "protect_rtcp") == 0)
                status = srtp_protect_rtcp(outbound, bytes, &len);
            else if (strcmp(name, "unprotect_rtcp") == 0)
                status = srtp_unprotect_rtcp(inbound, bytes, &len);
            answer(status, bytes, len);
        } else {
            printf("error -1\n");
        }
        fflush(stdout);
    }
    return 0;
}
