/* ringcast-bench: what a worker costs, beside the bound for the same work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "whole.h"

int main(int argc, char **argv)
{
    static const uint32_t fanouts[] = {1, 10, 50, 500};
    static const enum srtp_profile profiles[] = {SRTP_PROFILE_aead_aes_128_gcm,
                                                 SRTP_PROFILE_aead_aes_256_gcm,
                                                 SRTP_PROFILE_aes128_cm_sha1_80};

    bench_clock_start();
    for (size_t p = 0; p < 3; p++)
        for (size_t f = 0; f < 4; f++)
            for (int cold = 0; cold < 2; cold++) {
                struct whole_options o = {.profile = profiles[p],
                                          .fanout = fanouts[f],
                                          .bytes = 1200,
                                          .rounds = 100,
                                          .packets = 5000};

                whole_defaults(&o, cold);
                whole_measure(&o);
            }
    return 0;
}
