/* A disk that fails, and that remembers what was written to it. Loaded before the C library (LD_PRELOAD).
 *
 * DISK_PREFIX   files whose path begins so are on this disk; others are left alone
 * DISK_LOG      where each change is recorded, in the order in which it was made (see faults.py); optional
 * DISK_SWITCH   operations fail only while there is a file of this name; optional
 * DISK_FAIL     which fail: some of the letters w (write), s (sync), t (truncate), c (create)
 * DISK_ERRNO    how, as a number
 * DISK_AFTER    how many of these succeed first
 * DISK_COUNT    how many fail then; -1 for all
 * DISK_TORN     1: a write that fails has written its first half
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_FILES 65536

static char *paths[MOST_FILES];
static const char *prefix, *switch_file, *fail;
static int log_file = -1, error_number = EIO, torn;
static long after, count = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

typedef ssize_t (*write_type)(int, const void *, size_t);
typedef ssize_t (*pwrite_type)(int, const void *, size_t, off64_t);
typedef int (*one_type)(int);
typedef int (*truncate_type)(int, off64_t);
typedef int (*path_type)(const char *);
typedef int (*paths_type)(const char *, const char *);
typedef int (*open_type)(const char *, int, ...);
typedef int (*openat_type)(int, const char *, int, ...);

static void start(void) {
    const char *text;
    prefix = getenv("DISK_PREFIX");
    switch_file = getenv("DISK_SWITCH");
    fail = getenv("DISK_FAIL");
    if ((text = getenv("DISK_ERRNO"))) error_number = atoi(text);
    if ((text = getenv("DISK_AFTER"))) after = atol(text);
    if ((text = getenv("DISK_COUNT"))) count = atol(text);
    if ((text = getenv("DISK_TORN"))) torn = atoi(text);
    if ((text = getenv("DISK_LOG")))
        log_file = REAL("open64", open_type)(text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static const char *path_of(int file) {
    pthread_once(&once, start);
    return file >= 0 && file < MOST_FILES ? paths[file] : NULL;
}

static int is_ours(const char *path) {
    pthread_once(&once, start);
    return prefix && path && strncmp(path, prefix, strlen(prefix)) == 0;
}

/* Called with the mutex held, as all below. */
static int fails(char operation) {
    if (!fail || !strchr(fail, operation) || count == 0) return 0;
    if (switch_file && access(switch_file, F_OK) != 0) return 0;
    if (after > 0) {
        after--;
        return 0;
    }
    if (count > 0) count--;
    return 1;
}

static void note(char kind, const char *path, uint64_t offset, const void *data, uint64_t length) {
    struct __attribute__((packed)) {
        char kind;
        uint32_t path_length;
        uint64_t offset, length;
    } header = {kind, (uint32_t)strlen(path), offset, length};
    write_type write_really = REAL("write", write_type);
    int saved = errno;
    if (log_file < 0) return;
    if (write_really(log_file, &header, sizeof header) < 0 || write_really(log_file, path, strlen(path)) < 0 ||
        (length && write_really(log_file, data, length) < 0))
        abort();
    errno = saved;
}

static ssize_t write_at(int file, const void *data, size_t length, off64_t offset, int moves) {
    const char *path = path_of(file);
    pwrite_type pwrite_really = REAL("pwrite64", pwrite_type);
    write_type write_really = REAL("write", write_type);
    ssize_t written;
    int failing;
    if (!path) return moves ? write_really(file, data, length) : pwrite_really(file, data, length, offset);
    pthread_mutex_lock(&mutex);
    failing = fails('w');
    if (failing) length = torn ? length / 2 : 0;
    if (moves) {
        struct stat64 status;
        offset = fcntl(file, F_GETFL) & O_APPEND ? (fstat64(file, &status), status.st_size) : lseek64(file, 0, SEEK_CUR);
    }
    written = length == 0 ? 0 : moves ? write_really(file, data, length) : pwrite_really(file, data, length, offset);
    if (written > 0) note('W', path, (uint64_t)offset, data, (uint64_t)written);
    pthread_mutex_unlock(&mutex);
    if (failing) {
        errno = error_number;
        return -1;
    }
    return written;
}

ssize_t write(int file, const void *data, size_t length) { return write_at(file, data, length, 0, 1); }
ssize_t pwrite64(int file, const void *data, size_t length, off64_t at) { return write_at(file, data, length, at, 0); }
ssize_t pwrite(int file, const void *data, size_t length, off_t at) { return write_at(file, data, length, at, 0); }

static int sync_really(int file, const char *name) {
    const char *path = path_of(file);
    struct stat64 status;
    int result = -1;
    if (!path) return REAL(name, one_type)(file);
    pthread_mutex_lock(&mutex);
    if (fails('s')) {
        errno = error_number;
    } else {
        result = 0; /* a record of what is on disk stands for the disk: nothing here loses power by itself */
        fstat64(file, &status);
        note(S_ISDIR(status.st_mode) ? 'D' : 'S', path, 0, NULL, 0);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int fsync(int file) { return sync_really(file, "fsync"); }
int fdatasync(int file) { return sync_really(file, "fdatasync"); }

static int truncate_to(int file, off64_t size) {
    const char *path = path_of(file);
    int result = -1;
    if (!path) return REAL("ftruncate64", truncate_type)(file, size);
    pthread_mutex_lock(&mutex);
    if (fails('t')) {
        errno = error_number;
    } else if ((result = REAL("ftruncate64", truncate_type)(file, size)) == 0) {
        note('T', path, (uint64_t)size, NULL, 0);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

int ftruncate64(int file, off64_t size) { return truncate_to(file, size); }
int ftruncate(int file, off_t size) { return truncate_to(file, size); }

static int open_file(int folder, const char *path, int flags, mode_t mode) {
    openat_type open_really = REAL("openat64", openat_type);
    int file, is_new;
    if (!is_ours(path)) return open_really(folder, path, flags, mode);
    pthread_mutex_lock(&mutex);
    is_new = (flags & O_CREAT) && access(path, F_OK) != 0;
    if (is_new && fails('c')) {
        errno = error_number;
        file = -1;
    } else {
        file = open_really(folder, path, flags, mode);
    }
    if (file >= 0 && file < MOST_FILES) {
        free(paths[file]);
        paths[file] = strdup(path);
        if (is_new) note('C', path, 0, NULL, 0);
        if (flags & O_TRUNC) note('T', path, 0, NULL, 0);
    }
    pthread_mutex_unlock(&mutex);
    return file;
}

#define MODE(flags, mode)                 \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list arguments;                \
        va_start(arguments, flags);       \
        mode = va_arg(arguments, mode_t); \
        va_end(arguments);                \
    }

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    MODE(flags, mode)
    return open_file(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    MODE(flags, mode)
    return open_file(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    mode_t mode = 0;
    MODE(flags, mode)
    return open_file(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    mode_t mode = 0;
    MODE(flags, mode)
    return open_file(folder, path, flags, mode);
}

int close(int file) {
    if (path_of(file)) {
        pthread_mutex_lock(&mutex);
        free(paths[file]);
        paths[file] = NULL;
        pthread_mutex_unlock(&mutex);
    }
    return REAL("close", one_type)(file);
}

int unlink(const char *path) {
    int result;
    if (!is_ours(path)) return REAL("unlink", path_type)(path);
    pthread_mutex_lock(&mutex);
    if ((result = REAL("unlink", path_type)(path)) == 0) note('U', path, 0, NULL, 0);
    pthread_mutex_unlock(&mutex);
    return result;
}

int rename(const char *old, const char *new) {
    int result;
    if (!is_ours(old)) return REAL("rename", paths_type)(old, new);
    pthread_mutex_lock(&mutex);
    if ((result = REAL("rename", paths_type)(old, new)) == 0) note('R', old, 0, new, strlen(new));
    pthread_mutex_unlock(&mutex);
    return result;
}
