/* AV1's part of media.h. */
#ifndef RINGCAST_LAB_CODECS_H
#define RINGCAST_LAB_CODECS_H

#include "media.h"

size_t av1_describe(const struct frame *frame, unsigned packet, uint8_t *out, uint8_t *extension,
                    size_t *extension_bytes);
bool av1_read(struct reader *reader, const uint8_t *payload, size_t bytes, const uint8_t *extension,
              size_t extension_bytes, struct reading *reading);

#endif
