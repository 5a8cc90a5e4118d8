/* Used SRTP indexes: gaps, reordering and repetition. */
#include "sent.h"

bool srtp_sent_take_late(struct srtp_sent *sent, struct srtp_skipped *skipped, uint64_t index)
{
    if (index >= SRTP_INDEX_END)
        return false;
    if (index < sent->next) {
        if (sent->next - index > SRTP_SENT_WINDOW || !srtp_skipped_test(skipped, index))
            return false;
        srtp_skipped_set(sent, skipped, index, false);
        return true;
    }
    if (index - sent->next >= SRTP_SENT_WINDOW) {
        memset(skipped, 0xff, sizeof(*skipped));
        sent->skipped_count = SRTP_SENT_WINDOW;
    } else {
        for (uint64_t i = sent->next; i < index; i++)
            srtp_skipped_set(sent, skipped, i, true);
    }
    srtp_skipped_set(sent, skipped, index, false);
    sent->next = index + 1;
    return true;
}
