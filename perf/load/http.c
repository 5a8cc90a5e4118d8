/* HTTP requests through libcurl. */
#include "http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "memory.h"
#include "target.h"

#define TIMEOUT_S 30L
#define ANSWER_BYTES_MAX (1u << 20)

struct http_client {
    struct server_url url;
    CURL *curl;
};

struct answer {
    char *text;
    size_t bytes;
};

bool server_url_parse(struct server_url *url, const char *text, char *why)
{
    int used = 0;

    if (sscanf(text, "http://%199[^:/]:%15[0-9]%n", url->host, url->port, &used) == 2 &&
        (!text[used] || strcmp(text + used, "/") == 0)) {
        snprintf(url->text, sizeof(url->text), "http://%s:%s", url->host, url->port);
        return true;
    }
    snprintf(why, TARGET_WHY_BYTES, "\"%.200s\" is not of the form http://host:port", text);
    return false;
}

struct http_client *http_client_open(const struct server_url *url, char *why)
{
    struct http_client *client = memory_zeroed(1, sizeof(*client));

    client->url = *url;
    client->curl = curl_easy_init();
    if (client->curl)
        return client;
    snprintf(why, TARGET_WHY_BYTES, "libcurl does not start");
    free(client);
    return NULL;
}

void http_client_close(struct http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    free(client);
}

static size_t collect(char *data, size_t size, size_t n, void *context)
{
    struct answer *answer = context;
    char *grown;

    if (answer->bytes + size * n > ANSWER_BYTES_MAX ||
        !(grown = realloc(answer->text, answer->bytes + size * n + 1)))
        return 0;
    answer->text = grown;
    memcpy(answer->text + answer->bytes, data, size * n);
    answer->bytes += size * n;
    answer->text[answer->bytes] = '\0';
    return size * n;
}

cJSON *http_client_request(struct http_client *client, const char *path, const char *body,
                           long *status, char *why)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct answer answer = {0};
    cJSON *json = NULL;
    char url[600];
    CURLcode result;

    snprintf(url, sizeof(url), "%s%s", client->url.text, path);
    curl_easy_reset(client->curl);
    curl_easy_setopt(client->curl, CURLOPT_URL, url);
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, TIMEOUT_S);
    curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
    if (body)
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, body);
    result = curl_easy_perform(client->curl);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, status);
    if (result != CURLE_OK)
        snprintf(why, TARGET_WHY_BYTES, "%.200s: %.150s", url, curl_easy_strerror(result));
    else if (!(json = cJSON_Parse(answer.text ? answer.text : "")))
        snprintf(why, TARGET_WHY_BYTES, "%.200s answered %ld without JSON", url, *status);
    curl_slist_free_all(headers);
    free(answer.text);
    return json;
}
