/* The ICE-lite agent with a virtual clock: selection of paths, nomination, consent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/engines/ice.c"
#include "src/clock.h"
#include "stun_nice.h"

#define PASSWORD "b9fsoqtjdmis8atidcktk70kf4repqs9"
#define CONSENT_NS (30 * NS_PER_S)

static struct path path_number(unsigned number)
{
    struct path path = {.remote_port = (uint16_t)(1000 + number), .local_port = 40000};

    memset(path.remote_ip + 10, 0xff, 2);
    path.remote_ip[12] = 192;
    path.remote_ip[15] = (uint8_t)(number % 200 + 1);
    memcpy(path.local_ip, path.remote_ip, 16);
    return path;
}

/* A parsed, authentic request. fingerprint_at says that its datagram had 112 bytes. */
static struct stun_request check(bool nominate)
{
    return (struct stun_request){.controlling = true,
                                 .has_priority = true,
                                 .priority = 7,
                                 .use_candidate = nominate,
                                 .integrity_at = 80,
                                 .fingerprint_at = 104};
}

static enum ice_event ask(struct ice *ice, unsigned number, bool nominate, uint64_t now_ns)
{
    struct path path = path_number(number);
    struct stun_request request = check(nominate);
    uint8_t out[STUN_RESPONSE_BYTES_MAX];
    size_t out_bytes = 0;
    enum ice_event event =
        ice_receive_request(ice, &request, &path, PASSWORD, now_ns, out, &out_bytes);

    assert_int_equal(out_bytes, 64); /* every valid check gets a response */
    assert_int_equal(out[0] << 8 | out[1], 0x0101);
    return event;
}

/* The client has proven that it receives there. */
static void prove(struct ice *ice, unsigned number)
{
    struct path path = path_number(number);
    int index = ice_find_path(ice, &path);

    assert_true(index >= 0);
    ice->paths[index].proof.state = PROOF_COMPLETE;
}

static int selected_number(const struct ice *ice)
{
    const struct path *path = ice_selected_path(ice);

    return path ? path->remote_port - 1000 : -1;
}

static void new_agent_has_no_path(void **state)
{
    struct path path = {{0}};
    struct ice ice;

    memset(&ice, 0xff, sizeof(ice));
    ice_init(&ice);
    assert_int_equal(ice.state, ICE_STATE_new);
    assert_null(ice_selected_path(&ice));
    assert_int_equal(ice_find_path(&ice, &path), -1); /* a free entry is not a path */
    assert_false(ice_check_consent(&ice, UINT64_MAX, 0));
}

static void first_check_selects_its_path(void **state)
{
    struct ice ice;
    struct path path = path_number(1);

    ice_init(&ice);
    assert_int_equal(ask(&ice, 1, false, 5), ICE_CONNECTED);
    assert_int_equal(selected_number(&ice), 1);
    assert_int_equal(ice_find_path(&ice, &path), 0);
    assert_false(ice.nominated);
    assert_int_equal(ice.paths[0].priority, 7);
    assert_int_equal(ask(&ice, 2, false, 6), ICE_NOTHING); /* validated, but not selected */
    assert_int_equal(selected_number(&ice), 1);
    path = path_number(2);
    assert_int_equal(ice_find_path(&ice, &path), 1);
    path.local_port++;
    assert_int_equal(ice_find_path(&ice, &path), -1);
}

/* In the table of paths, the time 0 marks a free entry. A check at time 0 must still count. */
static void check_at_time_zero_counts(void **state)
{
    struct ice ice;
    struct path path = path_number(1);

    ice_init(&ice);
    assert_int_equal(ask(&ice, 1, true, 0), ICE_COMPLETED);
    assert_int_equal(ice_find_path(&ice, &path), 0);
    assert_int_equal(ask(&ice, 2, false, 0), ICE_NOTHING);
    prove(&ice, 2);
    assert_int_equal(ask(&ice, 2, true, 0), ICE_MOVED);
    assert_int_equal(ask(&ice, 1, true, 1), ICE_NOTHING);
    assert_int_equal(selected_number(&ice), 2);
}

/* ---- states × events ---- */

enum event { CHECK_SELECTED, CHECK_OTHER, NOMINATE_SELECTED, NOMINATE_OTHER, SILENCE, EVENTS };

#define T0 (100 * NS_PER_S)

/* Brings an agent into a state. If that state has a selected path, it is path 1. */
static void bring_into(struct ice *ice, unsigned wanted)
{
    ice_init(ice);
    if (wanted == ICE_STATE_new)
        return;
    ask(ice, 1, wanted == ICE_STATE_completed, T0);
    if (wanted == ICE_STATE_disconnected)
        assert_true(ice_check_consent(ice, T0 + CONSENT_NS, CONSENT_NS));
    assert_int_equal(ice->state, wanted);
}

static void every_event_in_every_state(void **state)
{
    static const struct {
        uint8_t state, event, next;
        enum ice_event told;
        int selected;
        bool nominated, lost;
    } table[] = {
        {ICE_STATE_new, CHECK_SELECTED, ICE_STATE_connected, ICE_CONNECTED, 1, false, false},
        {ICE_STATE_new, CHECK_OTHER, ICE_STATE_connected, ICE_CONNECTED, 2, false, false},
        {ICE_STATE_new, NOMINATE_SELECTED, ICE_STATE_completed, ICE_COMPLETED, 1, true, false},
        {ICE_STATE_new, NOMINATE_OTHER, ICE_STATE_completed, ICE_COMPLETED, 2, true, false},
        {ICE_STATE_new, SILENCE, ICE_STATE_new, ICE_NOTHING, -1, false, false},
        {ICE_STATE_connected, CHECK_SELECTED, ICE_STATE_connected, ICE_NOTHING, 1, false, false},
        {ICE_STATE_connected, CHECK_OTHER, ICE_STATE_connected, ICE_NOTHING, 1, false, false},
        {ICE_STATE_connected, NOMINATE_SELECTED, ICE_STATE_completed, ICE_COMPLETED, 1, true,
         false},
        {ICE_STATE_connected, NOMINATE_OTHER, ICE_STATE_completed, ICE_COMPLETED, 2, true, false},
        {ICE_STATE_connected, SILENCE, ICE_STATE_disconnected, ICE_NOTHING, -1, false, true},
        {ICE_STATE_completed, CHECK_SELECTED, ICE_STATE_completed, ICE_NOTHING, 1, true, false},
        {ICE_STATE_completed, CHECK_OTHER, ICE_STATE_completed, ICE_NOTHING, 1, true, false},
        {ICE_STATE_completed, NOMINATE_SELECTED, ICE_STATE_completed, ICE_NOTHING, 1, true, false},
        {ICE_STATE_completed, NOMINATE_OTHER, ICE_STATE_completed, ICE_MOVED, 2, true, false},
        {ICE_STATE_completed, SILENCE, ICE_STATE_disconnected, ICE_NOTHING, -1, false, true},
        {ICE_STATE_disconnected, CHECK_SELECTED, ICE_STATE_connected, ICE_CONNECTED, 1, false,
         false},
        {ICE_STATE_disconnected, CHECK_OTHER, ICE_STATE_connected, ICE_CONNECTED, 2, false, false},
        {ICE_STATE_disconnected, NOMINATE_SELECTED, ICE_STATE_completed, ICE_COMPLETED, 1, true,
         false},
        {ICE_STATE_disconnected, NOMINATE_OTHER, ICE_STATE_completed, ICE_COMPLETED, 2, true,
         false},
        {ICE_STATE_disconnected, SILENCE, ICE_STATE_disconnected, ICE_NOTHING, -1, false, false},
    };

    assert_int_equal(sizeof(table) / sizeof(table[0]), ICE_STATE_COUNT * EVENTS);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        unsigned number = table[i].event == CHECK_OTHER || table[i].event == NOMINATE_OTHER ? 2 : 1;
        bool nominate = table[i].event >= NOMINATE_SELECTED;
        enum ice_event told = ICE_NOTHING;
        bool lost = false;
        struct ice ice;

        assert_int_equal(table[i].state, i / EVENTS); /* the table has every pair once */
        assert_int_equal(table[i].event, i % EVENTS);
        bring_into(&ice, table[i].state);
        if (table[i].event == SILENCE)
            lost = ice_check_consent(&ice, T0 + 2 * CONSENT_NS, CONSENT_NS);
        else
            told = ask(&ice, number, nominate, T0 + CONSENT_NS + 1);
        if (told != table[i].told || ice.state != table[i].next || lost != table[i].lost ||
            selected_number(&ice) != table[i].selected || ice.nominated != table[i].nominated)
            fail_msg("row %zu: told %d, state %u, selected %d, nominated %d, lost %d", i, told,
                     ice.state, selected_number(&ice), ice.nominated, lost);
    }
}

/* ---- moves ---- */

/* Threat D4: another path is selected at most once per second. The first selection does not
 * count. */
static void path_changes_at_most_once_per_second(void **state)
{
    static const struct {
        uint64_t at_ns;
        unsigned number;
        enum ice_event told;
        int selected;
    } table[] = {
        {T0, 1, ICE_NOTHING, 1},
        {T0 + 1, 2, ICE_MOVED, 2}, /* the first move may come at once */
        {T0 + 2, 1, ICE_NOTHING, 2},
        {T0 + NS_PER_S, 3, ICE_NOTHING, 2},
        {T0 + NS_PER_S, 2, ICE_NOTHING, 2},
        {T0 + NS_PER_S + 1, 3, ICE_MOVED, 3},
        {T0 + NS_PER_S + 2, 2, ICE_NOTHING, 3},
        {T0 + 2 * NS_PER_S, 1, ICE_NOTHING, 3},
        {T0 + 2 * NS_PER_S + 1, 1, ICE_MOVED, 1},
    };
    struct ice ice;

    ice_init(&ice);
    for (unsigned i = 1; i <= 3; i++) {
        ask(&ice, i, i == 1, T0);
        prove(&ice, i);
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(ask(&ice, table[i].number, true, table[i].at_ns), table[i].told);
        assert_int_equal(selected_number(&ice), table[i].selected);
        assert_true(ice.nominated);
    }
    ice_init(&ice);
    unsigned moves = 0;

    for (unsigned i = 0; i < ICE_PATHS_MAX; i++) {
        ask(&ice, i, i == 0, T0);
        prove(&ice, i);
    }
    for (unsigned i = 1; i <= 1000;
         i++) /* for 10 s, the client nominates another path every 10 ms */
        moves += ask(&ice, i % ICE_PATHS_MAX, true, T0 + i * 10 * NS_PER_MS) == ICE_MOVED;
    assert_in_range(moves, 9, 10);
    assert_int_equal(ice.moves, moves);
}

/* ---- proofs ---- */

static void keyed(struct ice *ice, uint64_t now_ns)
{
    ice_init(ice);
    ask(ice, 1, true, now_ns);
    assert_int_equal(ice_handshake_path(ice, now_ns), 0);
    ice_take_keys(ice);
    assert_true(ice_is_proven(ice, 0));
    ice->has_receiver = true;
}

/* Threat D4: media moves to a path when the path is proven, or when the old one is dead. */
static void an_unproven_path_does_not_replace_a_living_one(void **state)
{
    struct ice ice;

    keyed(&ice, T0);
    for (uint64_t ms = 100; ms < 20000; ms += 250) { /* a check is sent again 4 times a second */
        assert_int_equal(ask(&ice, 2, true, T0 + ms * NS_PER_MS), ICE_NOTHING);
        ask(&ice, 1, true, T0 + ms * NS_PER_MS);
        assert_int_equal(selected_number(&ice), 1);
    }
    assert_int_equal(ice.moves, 0);
    prove(&ice, 2);
    assert_int_equal(ask(&ice, 2, true, T0 + 20 * NS_PER_S), ICE_MOVED);
    assert_int_equal(ask(&ice, 1, true, T0 + 22 * NS_PER_S), ICE_MOVED); /* that is proven, too */

    keyed(&ice, T0); /* the old path is silent: the new one is selected, but it stays unproven */
    for (uint64_t ns = 0; ns < ICE_SILENT_NS; ns += NS_PER_S / 2)
        assert_int_equal(ask(&ice, 2, true, T0 + ns), ICE_NOTHING);
    assert_int_equal(ask(&ice, 2, true, T0 + ICE_SILENT_NS), ICE_MOVED);
    assert_false(ice_is_proven(&ice, ice.selected));
    assert_int_equal(ask(&ice, 1, true, T0 + ICE_SILENT_NS + NS_PER_S), ICE_MOVED); /* it lives */
}

/* A proof alone moves nothing that the client has not nominated. */
static void a_proof_selects_a_nominated_path(void **state)
{
    struct ice ice;

    keyed(&ice, T0);
    ask(&ice, 2, false, T0 + 1);
    prove(&ice, 2);
    assert_false(ice_path_proven(&ice, 1, T0 + 2));
    assert_int_equal(ask(&ice, 3, true, T0 + 3), ICE_NOTHING);
    prove(&ice, 3);
    assert_true(ice_path_proven(&ice, 2, T0 + 4));
    assert_int_equal(selected_number(&ice), 3);
    assert_false(ice_path_proven(&ice, 2, T0 + 5)); /* it is selected already */
}

/* Before there are keys: a client that nominates one path keeps it, whoever nominates others. */
static void the_path_of_the_handshake(void **state)
{
    struct ice ice;

    ice_init(&ice);
    assert_int_equal(ice_handshake_path(&ice, T0), -1);
    ask(&ice, 1, false, T0);
    assert_int_equal(ask(&ice, 2, true, T0 + 1), ICE_COMPLETED); /* 1 was only the first check */
    assert_int_equal(selected_number(&ice), 2);
    assert_int_equal(ask(&ice, 3, true, T0 + NS_PER_S), ICE_NOTHING);
    assert_int_equal(selected_number(&ice), 2);
    assert_int_equal(ask(&ice, 3, true, T0 + NS_PER_S + 1), ICE_MOVED); /* 2 is dead */

    ice_init(&ice); /* the handshake stays where it began, and proves that path */
    ask(&ice, 1, false, T0);
    assert_int_equal(ice_handshake_path(&ice, T0), 0);
    ask(&ice, 2, true, T0 + 1);
    assert_int_equal(ice_handshake_path(&ice, T0 + NS_PER_S), 0);
    ice_take_keys(&ice);
    assert_int_equal(selected_number(&ice), 1);
    assert_true(ice_is_proven(&ice, 0));
    assert_false(ice_is_proven(&ice, 1));

    ice_init(&ice); /* one that went to two paths proves neither */
    ask(&ice, 1, false, T0);
    assert_int_equal(ice_handshake_path(&ice, T0), 0);
    ask(&ice, 2, true, T0 + 1);
    assert_int_equal(ice_handshake_path(&ice, T0 + NS_PER_S + 1), 1);
    ice_take_keys(&ice);
    assert_int_equal(selected_number(&ice), 2);
    assert_false(ice_is_proven(&ice, 0));
    assert_false(ice_is_proven(&ice, 1));

    ice_init(&ice); /* nor does one whose path was forgotten meanwhile */
    ask(&ice, 1, false, T0);
    ice_handshake_path(&ice, T0);
    for (unsigned i = 2; i < 20; i++)
        ask(&ice, i, true, T0 + i);
    ice_take_keys(&ice);
    for (int i = 0; i < ICE_PATHS_MAX; i++)
        assert_false(ice_is_proven(&ice, i));
}

/* Nothing is proven after consent is lost: the address may belong to somebody else now. But what an
 * earlier forwarder knew still counts. */
static void what_stays_proven(void **state)
{
    struct ice ice;

    keyed(&ice, T0);
    assert_true(ice_check_consent(&ice, T0 + CONSENT_NS, CONSENT_NS));
    ask(&ice, 1, true, T0 + CONSENT_NS + 1);
    assert_int_equal(selected_number(&ice), 1);
    assert_false(ice_is_proven(&ice, 0));
    assert_true(ice.has_receiver);

    ice_init(&ice);
    ice.proven_before = path_number(2);
    ice_take_keys(&ice);
    ask(&ice, 1, true, T0);
    assert_false(ice_is_proven(&ice, ice.selected));
    assert_int_equal(ask(&ice, 2, true, T0 + 1), ICE_MOVED);
    assert_true(ice_is_proven(&ice, ice.selected));
}

/* A client that only sends needs no more than its media. */
static void media_proves_a_path_while_nothing_is_received(void **state)
{
    struct ice ice;

    keyed(&ice, T0);
    ice.has_receiver = false;
    ask(&ice, 2, true, T0 + 1);
    ice.paths[1].proof.state = PROOF_SENDS;
    assert_true(ice_is_proven(&ice, 1));
    assert_int_equal(ask(&ice, 2, true, T0 + 2), ICE_MOVED);
    ice.has_receiver = true;
    assert_false(ice_is_proven(&ice, 1));
}

/* ---- the table of paths ---- */

/* Who sends checks from many addresses does not push out the paths that matter. */
static void proven_paths_are_forgotten_last(void **state)
{
    struct path proven = path_number(3), heard = path_number(4), gone = path_number(2);
    struct ice ice;

    keyed(&ice, T0);
    for (unsigned i = 2; i <= 4; i++)
        ask(&ice, i, true, T0 + i);
    prove(&ice, 3);
    ice.paths[ice_find_path(&ice, &heard)].proof.is_heard = true;
    for (unsigned i = 100; i < 5000; i++)
        ask(&ice, i, true, T0 + i);
    assert_int_equal(selected_number(&ice), 1);
    assert_true(ice_find_path(&ice, &proven) >= 0);
    assert_true(ice_find_path(&ice, &heard) >= 0);
    assert_int_equal(ice_find_path(&ice, &gone), -1);
}

static void full_table_forgets_the_path_with_the_oldest_check(void **state)
{
    struct ice ice;

    ice_init(&ice);
    for (unsigned i = 0; i < ICE_PATHS_MAX; i++)
        ask(&ice, i, false, T0 + i);
    ask(&ice, 1, false, T0 + 50); /* path 0 is selected, so path 2 is the oldest unselected one */
    for (unsigned i = 100; i < 103; i++) {
        ask(&ice, i, false, T0 + i);
        struct path came = path_number(i), gone = path_number(i - 98), kept = path_number(0);

        assert_true(ice_find_path(&ice, &came) >= 0);
        assert_int_equal(ice_find_path(&ice, &gone), -1);
        assert_int_equal(ice_find_path(&ice, &kept), 0);
    }
    struct path again = path_number(1);

    assert_true(ice_find_path(&ice, &again) >= 0);
    for (unsigned i = 0; i < 5000; i++) { /* the table does not grow; the selected path stays */
        unsigned used = 0;

        ask(&ice, 200 + i, false, T0 + 1000 + i);
        for (unsigned p = 0; p < ICE_PATHS_MAX; p++)
            used += ice.paths[p].last_check_ns != 0;
        assert_int_equal(used, ICE_PATHS_MAX);
        assert_int_equal(selected_number(&ice), 0);
    }
}

/* ---- consent ---- */

static void consent_ends_exactly_on_time(void **state)
{
    struct ice ice;
    struct path path = path_number(1);

    ice_init(&ice);
    ask(&ice, 1, true, T0);
    assert_false(ice_check_consent(&ice, T0, CONSENT_NS));
    assert_false(ice_check_consent(&ice, T0 - 1, CONSENT_NS)); /* the caller's time is older */
    assert_false(ice_check_consent(&ice, T0 + CONSENT_NS - 1, CONSENT_NS));
    ask(&ice, 1, false, T0 + CONSENT_NS - 1); /* a check without USE-CANDIDATE renews it */
    assert_false(ice_check_consent(&ice, T0 + 2 * CONSENT_NS - 2, CONSENT_NS));
    ask(&ice, 2, false, T0 + 2 * CONSENT_NS - 2); /* a check on another path does not */
    assert_non_null(ice_selected_path(&ice));
    assert_true(ice_check_consent(&ice, T0 + 2 * CONSENT_NS - 1, CONSENT_NS));
    assert_false(ice_check_consent(&ice, T0 + 3 * CONSENT_NS, CONSENT_NS)); /* returned only once */
    assert_int_equal(ice.state, ICE_STATE_disconnected);
    assert_null(ice_selected_path(&ice));
    assert_int_equal(ice_find_path(&ice, &path), -1);

    /* The client comes back; the first check selects its path. */
    assert_int_equal(ask(&ice, 3, false, T0 + 4 * CONSENT_NS), ICE_CONNECTED);
    assert_int_equal(ask(&ice, 3, true, T0 + 4 * CONSENT_NS + 1), ICE_COMPLETED);
    ask(&ice, 1, false, T0 + 4 * CONSENT_NS + 2);
    prove(&ice, 1);
    assert_int_equal(ask(&ice, 1, true, T0 + 4 * CONSENT_NS + 2), ICE_MOVED);
    assert_true(ice_check_consent(&ice, T0 + 5 * CONSENT_NS + 2, CONSENT_NS));
}

/* ---- requests that are refused ---- */

static void refused_requests_change_nothing(void **state)
{
    static const struct {
        bool unknown, priority, controlled;
        unsigned code;
    } table[] = {
        {false, true, true, 487}, {false, false, false, 400}, {false, false, true, 400},
        {true, true, false, 420}, {true, false, true, 420},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        for (unsigned s = 0; s < ICE_STATE_COUNT; s++) {
            struct ice ice, before;
            struct stun_request request = check(true);
            struct path path = path_number(5);
            uint8_t out[STUN_RESPONSE_BYTES_MAX];
            size_t bytes;

            bring_into(&ice, s);
            before = ice;
            request.has_unknown_required = table[i].unknown;
            request.unknown[0] = 0x7fff;
            request.unknown_count = table[i].unknown;
            request.has_priority = table[i].priority;
            request.controlled = table[i].controlled;
            request.controlling = !table[i].controlled;
            assert_int_equal(ice_receive_request(&ice, &request, &path, PASSWORD,
                                                 T0 + 9 * CONSENT_NS, out, &bytes),
                             ICE_NOTHING);
            assert_memory_equal(&ice, &before, sizeof(ice));
            assert_int_equal(out[0] << 8 | out[1], 0x0111);
            assert_int_equal(out[26] * 100 + out[27], table[i].code);
            assert_in_range(bytes, 60, request.fingerprint_at + 8);
        }
    }
}

/* Threat D2: when the response would be longer than the request, there is no response. */
static void response_is_never_longer_than_the_request(void **state)
{
    for (uint16_t fingerprint_at = 40; fingerprint_at < 80; fingerprint_at += 4) {
        struct stun_request request = check(false);
        struct path path = path_number(5);
        uint8_t out[STUN_RESPONSE_BYTES_MAX];
        struct ice ice;
        size_t bytes;

        ice_init(&ice);
        request.fingerprint_at = fingerprint_at;
        ice_receive_request(&ice, &request, &path, PASSWORD, T0, out, &bytes);
        assert_int_equal(bytes, fingerprint_at + 8 < 64 ? 0 : 64);
    }
}

/* libnice as the client accepts our success, and when it claims to be controlled, our error 487. */
static void libnice_accepts_our_responses(void **state)
{
    for (unsigned controlling = 0; controlling < 2; controlling++) {
        uint8_t data[512], out[STUN_RESPONSE_BYTES_MAX];
        struct path path = path_number(1);
        struct nice_check client;
        struct stun_request request;
        struct ice ice;
        size_t answer, bytes = nice_check_make(&client, data, sizeof(data), "ours", "them",
                                               PASSWORD, true, controlling, 99, 12345);

        ice_init(&ice);
        assert_int_equal(stun_parse(data, bytes, &request), STUN_OK);
        assert_int_equal(stun_authenticate(data, bytes, &request, PASSWORD), STUN_OK);
        assert_int_equal(ice_receive_request(&ice, &request, &path, PASSWORD, T0, out, &answer),
                         controlling ? ICE_COMPLETED : ICE_NOTHING);
        assert_int_equal(nice_check_result(&client, out, answer, &path), controlling ? 0 : 487);
        assert_int_equal(ice_selected_path(&ice) != NULL, controlling);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_agent_has_no_path),
        cmocka_unit_test(first_check_selects_its_path),
        cmocka_unit_test(check_at_time_zero_counts),
        cmocka_unit_test(every_event_in_every_state),
        cmocka_unit_test(path_changes_at_most_once_per_second),
        cmocka_unit_test(an_unproven_path_does_not_replace_a_living_one),
        cmocka_unit_test(a_proof_selects_a_nominated_path),
        cmocka_unit_test(the_path_of_the_handshake),
        cmocka_unit_test(what_stays_proven),
        cmocka_unit_test(media_proves_a_path_while_nothing_is_received),
        cmocka_unit_test(proven_paths_are_forgotten_last),
        cmocka_unit_test(full_table_forgets_the_path_with_the_oldest_check),
        cmocka_unit_test(consent_ends_exactly_on_time),
        cmocka_unit_test(refused_requests_change_nothing),
        cmocka_unit_test(response_is_never_longer_than_the_request),
        cmocka_unit_test(libnice_accepts_our_responses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
