/* The files of the web page, read into memory at the start. No request touches the disk, and no
 * path from a client reaches the file system. */
#ifndef RINGCAST_WEB_PAGE_H
#define RINGCAST_WEB_PAGE_H

#include <stdbool.h>

struct http_request;
struct page;

/* why (192): what is wrong with the directory. */
struct page *page_load(const char *directory, char *why);
void page_free(struct page *page); /* may be NULL */
/* Replies with the file that has the request's path. False: there is none, nothing was sent. */
bool page_reply(const struct page *page, struct http_request *request);

#endif
