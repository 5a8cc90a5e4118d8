/* Loads the files of the web page and serves them. */
#define _GNU_SOURCE
#include "page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reply.h"
#include "request.h"

#define PAGE_FILES_MAX 1024
#define PAGE_BYTES_MAX (64u * 1024 * 1024)
#define PAGE_DEPTH_MAX 8
#define PAGE_PATH_ROOM 256

struct page_file {
    char path[PAGE_PATH_ROOM]; /* as in a URL: begins with '/' */
    char etag[35];
    const char *type;
    char *bytes;
    size_t count;
};

struct page {
    unsigned count;
    size_t bytes;
    struct page_file files[PAGE_FILES_MAX];
};

static const char *type_of(const char *path)
{
    static const struct {
        const char *ending, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".json", "application/json; charset=utf-8"},
        {".map", "application/json; charset=utf-8"},
        {".webmanifest", "application/manifest+json; charset=utf-8"},
        {".txt", "text/plain; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".webp", "image/webp"},
        {".gif", "image/gif"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".woff", "font/woff"},
        {".wasm", "application/wasm"},
        {".mp3", "audio/mpeg"},
        {".ogg", "audio/ogg"},
        {".wav", "audio/wav"},
        {".mp4", "video/mp4"},
        {".webm", "video/webm"},
    };
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcasecmp(dot, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

static void make_etag(struct page_file *file)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];

    SHA256((unsigned char *)file->bytes, file->count, hash);
    file->etag[0] = '"';
    for (int i = 0; i < 16; i++)
        snprintf(file->etag + 1 + 2 * i, 4, "%02x\"", hash[i]);
}

static bool load_file(struct page *page, int directory, const char *name, const char *path,
                      size_t bytes, char *why)
{
    struct page_file *file = &page->files[page->count];
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (page->count == PAGE_FILES_MAX || page->bytes + bytes > PAGE_BYTES_MAX) {
        snprintf(why, 192,
                 "RINGCAST_PAGE has more than %u files or %u MiB: does it name the built page?",
                 PAGE_FILES_MAX, PAGE_BYTES_MAX >> 20);
        if (fd >= 0)
            close(fd);
        return false;
    }
    file->bytes = malloc(bytes + 1);
    while (fd >= 0 && file->bytes != NULL && file->count < bytes) {
        ssize_t count = read(fd, file->bytes + file->count, bytes - file->count);

        if (count <= 0)
            break;
        file->count += (size_t)count;
    }
    if (fd < 0 || file->bytes == NULL || file->count != bytes) {
        snprintf(why, 192, "RINGCAST_PAGE: cannot read '%.100s': %s", path, strerror(errno));
        free(file->bytes);
        *file = (struct page_file){0};
        if (fd >= 0)
            close(fd);
        return false;
    }
    close(fd);
    snprintf(file->path, sizeof(file->path), "%s", path);
    file->type = type_of(path);
    make_etag(file);
    page->bytes += bytes;
    page->count++;
    return true;
}

static bool load_directory(struct page *page, int fd, const char *prefix, unsigned depth, char *why)
{
    DIR *directory = fdopendir(fd);
    struct dirent *entry;
    bool ok = true;

    if (directory == NULL) {
        close(fd);
        return false;
    }
    while (ok && (entry = readdir(directory)) != NULL) {
        char path[PAGE_PATH_ROOM];
        struct stat state;

        /* Hidden files and symbolic links are not served. */
        if (entry->d_name[0] == '.' ||
            fstatat(dirfd(directory), entry->d_name, &state, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", prefix, entry->d_name) >= (int)sizeof(path))
            continue;
        if (S_ISREG(state.st_mode)) {
            ok = load_file(page, dirfd(directory), entry->d_name, path, (size_t)state.st_size, why);
        } else if (S_ISDIR(state.st_mode) && depth < PAGE_DEPTH_MAX) {
            int inner = openat(dirfd(directory), entry->d_name,
                               O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

            ok = inner < 0 || load_directory(page, inner, path, depth + 1, why);
        }
    }
    closedir(directory);
    return ok;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct page_file *)a)->path, ((const struct page_file *)b)->path);
}

struct page *page_load(const char *directory, char *why)
{
    struct page *page = calloc(1, sizeof(*page));
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    snprintf(why, 192, "RINGCAST_PAGE: cannot read '%.100s': %s", directory, strerror(errno));
    if (page == NULL || fd < 0 || !load_directory(page, fd, "", 0, why)) {
        if (page == NULL && fd >= 0)
            close(fd);
        page_free(page);
        return NULL;
    }
    qsort(page->files, page->count, sizeof(page->files[0]), compare_files);
    return page;
}

void page_free(struct page *page)
{
    if (page == NULL)
        return;
    for (unsigned i = 0; i < page->count; i++)
        free(page->files[i].bytes);
    free(page);
}

bool page_reply(const struct page *page, struct http_request *request)
{
    struct page_file wanted;
    const struct page_file *file;
    struct slice path = request->head.path;
    struct slice known = http_field(&request->head, "if-none-match"), tag;

    if (slice_is(path, "/"))
        path = slice_of("/index.html");
    if (path.bytes >= sizeof(wanted.path))
        return false;
    slice_copy(path, wanted.path, sizeof(wanted.path));
    file = bsearch(&wanted, page->files, page->count, sizeof(page->files[0]), compare_files);
    if (file == NULL)
        return false;
    http_reply_header(request, "ETag", file->etag);
    http_reply_header(request, "Cache-Control", "no-cache");
    while (slice_next(&known, ',', &tag)) {
        tag = slice_trim(tag);
        if (tag.bytes > 2 && memcmp(tag.at, "W/", 2) == 0)
            tag = (struct slice){tag.at + 2, tag.bytes - 2};
        if (slice_is(tag, file->etag)) {
            http_reply_page(request, 304, "", NULL, 0);
            return true;
        }
    }
    http_reply_page(request, 200, file->type, file->bytes, file->count);
    return true;
}
