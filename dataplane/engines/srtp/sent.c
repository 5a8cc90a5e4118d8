/* Used SRTP indexes: gaps, reordering and repetition. */
#include "sent.h"

bool srtp_sent_take_late(struct srtp_sent *sent, struct srtp_skipped *skipped, uint64_t index)
{
    uint64_t next = srtp_sent_next(sent);

    if (index >= SRTP_INDEX_END)
        return false;
    if (index < next) {
        if (next - index > SRTP_SENT_WINDOW || !srtp_skipped_test(skipped, index))
            return false;
        srtp_skipped_set(sent, skipped, index, false);
        return true;
    }
    if (index - next >= SRTP_SENT_WINDOW) {
        memset(skipped, 0xff, sizeof(*skipped));
        sent->next_and_skipped = next | SRTP_SENT_WINDOW * SRTP_SENT_SKIPPED_ONE;
    } else {
        for (uint64_t i = next; i < index; i++)
            srtp_skipped_set(sent, skipped, i, true);
    }
    srtp_skipped_set(sent, skipped, index, false);
    sent->next_and_skipped += index + 1 - next;
    return true;
}
