/* Requests about the token of a socket: refresh it. */
#include <string.h>

#include "controlplane/web/json.h"
#include "events.h"
#include "registry.h"
#include "request.h"
#include "session.h"

static void refresh_verified(void *context, enum auth_result result, const struct user_row *user,
                             const char *token, uint32_t retry_after_s)
{
    struct request *request = context;
    uint64_t life_ms = 0;
    cJSON *value;

    if (!request_resume(request)) {
        request_drop(request);
        return;
    }
    if (result == AUTH_OK && strcmp(user->id, request->session->user_id) == 0) {
        life_ms = session_use_token(request->session, request->data);
        request->data = NULL;
    }
    if (life_ms > 0) {
        value = json_new_object();
        cJSON_AddNumberToObject(value, "expiresAt", (double)(wall_ms() + (int64_t)life_ms));
        request_succeed(request, value);
    } else if (result == AUTH_UNAVAILABLE || result == AUTH_BUSY) {
        request_fail(request, ERROR_unavailable);
    } else {
        request->rooms->refused_tokens++;
        request_fail(request, ERROR_invalid_token);
    }
    request_drop(request);
}

/* Another token of the same user keeps the socket connected beyond the end of the first. */
void handle_auth_refresh(struct request *request)
{
    struct request *later = request_defer(request);

    if (later != NULL)
        later->data = strdup(payload_text(request->payload, "token"));
    if (later != NULL && later->data != NULL) {
        auth_verify(request->rooms->auth, later->data, refresh_verified, later);
        return;
    }
    if (later != NULL)
        request_drop(later);
    request_fail(request, ERROR_unavailable);
}
