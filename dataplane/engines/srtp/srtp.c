/* SRTP: protects many packets with the same payload, unprotects many packets. */
#include "engine.h"

#include <assert.h>

static void protect_aead(struct srtp_engine *engine, const struct srtp_protect_job *job)
{
    const struct srtp_key_inside *key = srtp_inside(job->key);
    uint8_t *cipher = job->out + job->header_bytes;
    struct gcm_context_data context;
    uint8_t iv[16];

    srtp_aead_iv(iv, key->rtp_salt, job->ssrc, job->index);
    if (key->profile == SRTP_PROFILE_aead_aes_256_gcm)
        IMB_AES256_GCM_ENC(engine->wide, &key->gcm, &context, cipher, job->payload,
                           job->payload_bytes, iv, job->out, job->header_bytes,
                           cipher + job->payload_bytes, AEAD_TAG_BYTES);
    else
        IMB_AES128_GCM_ENC(engine->wide, &key->gcm, &context, cipher, job->payload,
                           job->payload_bytes, iv, job->out, job->header_bytes,
                           cipher + job->payload_bytes, AEAD_TAG_BYTES);
}

/* Encrypts in counter mode, then computes the HMAC over header, ciphertext and roll-over counter
 * (RFC 3711 4.2). The memory behind a packet belongs to the next packet and must never be written,
 * not even for a moment. So the counter is put where the tag will be. The HMAC of 12 bytes is
 * written to `computed`, and 10 bytes of it are copied to the packet. */
static void protect_cm(struct srtp_engine *engine, const struct srtp_protect_job *const *jobs,
                       size_t count)
{
    size_t ciphers = 0;

    for (size_t i = 0; i < count; i++) {
        const struct srtp_protect_job *job = jobs[i];
        const struct srtp_key_inside *key = srtp_inside(job->key);

        if (job->payload_bytes == 0)
            continue;
        srtp_cm_iv(engine->iv[i], key->rtp_salt, job->ssrc, job->index);
        srtp_job_cipher(&engine->jobs[ciphers++], &key->cm.rtp, job->out + job->header_bytes,
                        job->payload, job->payload_bytes, engine->iv[i]);
    }
    srtp_run_cipher(engine, engine->jobs, ciphers);
    for (size_t i = 0; i < count; i++) {
        const struct srtp_protect_job *job = jobs[i];
        size_t bytes = (size_t)job->header_bytes + job->payload_bytes;

        srtp_store32(job->out + bytes, (uint32_t)(job->index >> 16));
        srtp_job_hash(&engine->jobs[i], &srtp_inside(job->key)->cm.rtp, job->out, bytes + 4,
                      engine->computed[i]);
    }
    srtp_run_hash(engine, engine->jobs, count);
    for (size_t i = 0; i < count; i++)
        memcpy(jobs[i]->out + jobs[i]->header_bytes + jobs[i]->payload_bytes, engine->computed[i],
               CM_TAG_BYTES);
}

void srtp_protect_burst(struct srtp_engine *engine, const struct srtp_protect_job *jobs,
                        size_t count)
{
    const struct srtp_protect_job *cm[SRTP_CHUNK];
    size_t waiting = 0;

    assert(count <= SRTP_BURST);
    for (size_t i = 0; i < count; i++) {
        assert(jobs[i].index <= SRTP_INDEX_MAX);
        if (srtp_inside(jobs[i].key)->profile != SRTP_PROFILE_aes128_cm_sha1_80) {
            protect_aead(engine, &jobs[i]);
            continue;
        }
        cm[waiting++] = &jobs[i];
        if (waiting == SRTP_CHUNK) {
            protect_cm(engine, cm, waiting);
            waiting = 0;
        }
    }
    protect_cm(engine, cm, waiting);
}

/* RFC 3711 3.3.1 and appendix A: guesses the index from the sequence number. For the first packet
 * of a stream the roll-over counter is 0. Senders begin with a sequence number below 2^15, so that
 * the loss of their first packets cannot hide that the number has wrapped. While the counter is 0,
 * a number that is far ahead cannot belong to the counter before, so it is used unchanged. */
static uint64_t index_estimate(const struct srtp_stream *stream, uint16_t sequence)
{
    uint64_t counter = stream->highest_index >> 16;
    uint16_t highest = (uint16_t)stream->highest_index;

    if (!stream->started)
        return sequence;
    if (highest < 0x8000) {
        if (sequence - highest > 0x8000 && counter > 0)
            counter--;
    } else if (highest - 0x8000 > sequence) {
        counter++;
    }
    return counter << 16 | sequence;
}

bool srtp_stream_take(struct srtp_stream *stream, uint16_t sequence, uint64_t *index)
{
    if (!stream->started)
        return false;
    *index = index_estimate(stream, sequence);
    if (*index > SRTP_INDEX_MAX || srtp_replayed(stream, *index) ||
        (*index > stream->highest_index && *index - stream->highest_index >= SRTP_REPLAY_WINDOW))
        return false;
    srtp_window_move(stream, *index);
    return true;
}

/* Makes a job that hashes a packet with an index. The roll-over counter overwrites the tag, of
 * which the caller has a copy. */
static void unprotect_hash_job(struct srtp_engine *engine, IMB_JOB *work,
                               const struct srtp_unprotect_job *job, size_t i, uint64_t index)
{
    size_t bytes = (size_t)job->bytes - CM_TAG_BYTES;

    srtp_store32(job->packet + bytes, (uint32_t)(index >> 16));
    srtp_job_hash(work, &srtp_inside(job->key)->cm.rtp, job->packet, bytes + 4,
                  engine->computed[i]);
    engine->guess[i] = index;
}

/* Hashes all packets of the counter-mode profile together. Each gets the index that its stream
 * suggests now; an earlier packet of the same chunk may change that. */
static void unprotect_hash_ahead(struct srtp_engine *engine, struct srtp_unprotect_job *jobs,
                                 size_t count)
{
    size_t hashes = 0;

    for (size_t i = 0; i < count; i++) {
        struct srtp_unprotect_job *job = &jobs[i];
        uint8_t profile = srtp_inside(job->key)->profile;
        uint64_t index;

        engine->guess[i] = UINT64_MAX;
        job->result = SRTP_OK;
        if (job->header_bytes < SRTP_HEADER_BYTES_MIN ||
            (size_t)job->header_bytes + srtp_tag_bytes(profile) > job->bytes) {
            job->result = SRTP_MALFORMED;
            continue;
        }
        if (profile != SRTP_PROFILE_aes128_cm_sha1_80)
            continue;
        memcpy(engine->received[i], job->packet + job->bytes - CM_TAG_BYTES, CM_TAG_BYTES);
        index = index_estimate(job->stream, job->sequence);
        if (index <= SRTP_INDEX_MAX && !srtp_replayed(job->stream, index))
            unprotect_hash_job(engine, &engine->jobs[hashes++], job, i, index);
    }
    srtp_run_hash(engine, engine->jobs, hashes);
}

static bool authentic_cm(struct srtp_engine *engine, const struct srtp_unprotect_job *job, size_t i,
                         uint64_t index)
{
    /* An earlier packet has changed the index of this one: hash it again. */
    if (engine->guess[i] != index) {
        IMB_JOB single = {0};

        unprotect_hash_job(engine, &single, job, i, index);
        srtp_run_hash(engine, &single, 1);
    }
    return srtp_tag_equal(engine->computed[i], engine->received[i], CM_TAG_BYTES);
}

/* Where to write the decrypted packet. */
static uint8_t *clear_of(const struct srtp_unprotect_job *job)
{
    return job->out ? job->out : job->packet;
}

static bool decrypt_aead(struct srtp_engine *engine, const struct srtp_unprotect_job *job,
                         uint64_t index)
{
    const struct srtp_key_inside *key = srtp_inside(job->key);
    const uint8_t *cipher = job->packet + job->header_bytes;
    uint8_t *clear = clear_of(job) + job->header_bytes;
    size_t bytes = (size_t)job->bytes - job->header_bytes - AEAD_TAG_BYTES;
    uint8_t iv[16], computed[AEAD_TAG_BYTES];
    struct gcm_context_data context;

    srtp_aead_iv(iv, key->rtp_salt, job->ssrc, index);
    if (key->profile == SRTP_PROFILE_aead_aes_256_gcm)
        IMB_AES256_GCM_DEC(engine->wide, &key->gcm, &context, clear, cipher, bytes, iv, job->packet,
                           job->header_bytes, computed, AEAD_TAG_BYTES);
    else
        IMB_AES128_GCM_DEC(engine->wide, &key->gcm, &context, clear, cipher, bytes, iv, job->packet,
                           job->header_bytes, computed, AEAD_TAG_BYTES);
    return srtp_tag_equal(computed, cipher + bytes, AEAD_TAG_BYTES);
}

/* Takes the packets in order, so that the result is the same as if each had arrived alone. */
static void unprotect_chunk(struct srtp_engine *engine, struct srtp_unprotect_job *jobs,
                            size_t count)
{
    size_t ciphers = 0;

    unprotect_hash_ahead(engine, jobs, count);
    for (size_t i = 0; i < count; i++) {
        struct srtp_unprotect_job *job = &jobs[i];
        const struct srtp_key_inside *key = srtp_inside(job->key);
        bool cm = key->profile == SRTP_PROFILE_aes128_cm_sha1_80;
        uint64_t index = index_estimate(job->stream, job->sequence);

        if (job->result == SRTP_MALFORMED)
            continue;
        if (index > SRTP_INDEX_MAX) {
            job->result = SRTP_KEY_LIMIT;
            continue;
        }
        if (srtp_replayed(job->stream, index)) {
            job->result = SRTP_REPLAYED;
            continue;
        }
        if (!(cm ? authentic_cm(engine, job, i, index) : decrypt_aead(engine, job, index))) {
            job->result = SRTP_UNAUTHENTIC;
            continue;
        }
        srtp_window_move(job->stream, index);
        job->index = index;
        job->bytes -= (uint16_t)srtp_tag_bytes(key->profile);
        if (job->out)
            memcpy(job->out, job->packet, job->header_bytes);
        if (!cm || job->bytes == job->header_bytes)
            continue;
        srtp_cm_iv(engine->iv[i], key->rtp_salt, job->ssrc, index);
        srtp_job_cipher(&engine->jobs[ciphers++], &key->cm.rtp, clear_of(job) + job->header_bytes,
                        job->packet + job->header_bytes, (size_t)job->bytes - job->header_bytes,
                        engine->iv[i]);
    }
    srtp_run_cipher(engine, engine->jobs, ciphers);
}

void srtp_unprotect_burst(struct srtp_engine *engine, struct srtp_unprotect_job *jobs, size_t count)
{
    assert(count <= SRTP_BURST);
    for (size_t done = 0; done < count; done += SRTP_CHUNK)
        unprotect_chunk(engine, jobs + done, count - done < SRTP_CHUNK ? count - done : SRTP_CHUNK);
}
