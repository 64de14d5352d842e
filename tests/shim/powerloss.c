/*
 * Power loss and failing syncs, for tests: an LD_PRELOAD library that stands between a program and its files below $SHIM_DIR.
 *
 * `kill -9` leaves the page cache as it is, so it says nothing about power loss. This library remembers, for each file, what the disk would
 * have if the power went now: the content of every block that was written since the file's last successful sync. At a chosen operation it
 * puts a part of those blocks back, or all of them, and kills the process with SIGKILL.
 *
 *   SHIM_DIR        the directory whose files are watched; must be absolute and without symbolic links
 *   SHIM_CUT=N      lose power at the N-th intercepted change (write, truncation, sync, unlink, rename), counted from 1
 *   SHIM_SEED=N     seed of the choice of what is put back: all of the unsynced blocks, a random half of the blocks, or of their sectors
 *   SHIM_LIE=1      syncs do nothing, like those of a disk that lies, or of a database that asks for none; everything counts as unsynced
 *   SHIM_FAIL_SYNC=N  the N-th sync of the file named $SHIM_FAIL_NAME fails with EIO, and what it should have made durable is put back at
 *                   once, as a kernel does that drops dirty pages after an error
 *   SHIM_FULL=1     writes fail with ENOSPC, like those to a full disk
 *   SHIM_FULL_BELOW=PATH  SHIM_FULL is for files below this directory only
 *   SHIM_NO_SPACE=1 statvfs tells that nothing is free, though writes still succeed, like a disk of which only what is kept for others is left
 *   SHIM_WHEN=PATH  SHIM_FAIL_SYNC counts, and SHIM_FULL and SHIM_NO_SPACE hold, only while there is something at this path
 *   SHIM_REPORT     a file that gets one line saying what was done
 *
 * Directory entries (creation, rename, unlink) count as durable at once. Memory-mapped writes are not seen: of SQLite's files only the -shm
 * file is mapped, and that is rebuilt after every crash.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 4096
#define SECTOR 512
#define MAX_FDS 65536
#define MAX_FILES 256

/* The content that a block had at the file's last sync. */
struct block {
    off_t number;
    unsigned char content[BLOCK];
    struct block *next;
};

/* A file with what it had at its last sync. Kept by inode, so that it survives renames and being opened twice. */
struct file {
    dev_t device;
    ino_t inode;
    int fd; /* our own descriptor, to read old content and to put it back */
    off_t durable_size;
    int changed;
    int may_fill; /* whether SHIM_FULL is for it */
    struct block *blocks;
    char name[NAME_MAX + 1];
};

static struct file files[MAX_FILES];
static int file_count;
/* Index into files plus one for each descriptor, or 0. */
static unsigned short by_fd[MAX_FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static char directory[PATH_MAX];
static size_t directory_length;
static char report[PATH_MAX];
static char fail_name[NAME_MAX + 1];
static char when[PATH_MAX], full_below[PATH_MAX];
static long cut, fail_sync, operations, syncs;
static int lie, full, no_space, ready;
static uint64_t seed;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_statvfs)(const char *, struct statvfs *);

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static void text(const char *name, char *into, size_t size) {
    const char *value = getenv(name);
    snprintf(into, size, "%s", value ? value : "");
}

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_statvfs = dlsym(RTLD_NEXT, "statvfs");
    text("SHIM_DIR", directory, sizeof directory);
    text("SHIM_REPORT", report, sizeof report);
    text("SHIM_FAIL_NAME", fail_name, sizeof fail_name);
    text("SHIM_WHEN", when, sizeof when);
    text("SHIM_FULL_BELOW", full_below, sizeof full_below);
    directory_length = strlen(directory);
    cut = number("SHIM_CUT");
    fail_sync = number("SHIM_FAIL_SYNC");
    lie = number("SHIM_LIE") != 0;
    full = number("SHIM_FULL") != 0;
    no_space = number("SHIM_NO_SPACE") != 0;
    seed = (uint64_t)number("SHIM_SEED") * 2654435761u + 88172645463325252u;
    ready = directory_length > 0;
}

/*
 * Other threads still run while blocks are put back, and may read what makes no sense; the program must not end by that before it is killed.
 * Whoever puts blocks back never gives the lock away again.
 */
__attribute__((destructor)) static void end(void) {
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
}

static uint64_t random_number(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void say(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (!report[0] || length <= 0)
        return;
    int fd = real_open(report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (real_write(fd, line, (size_t)length) < 0)
        abort();
    real_close(fd);
}

/* The watched file behind a descriptor, or none. */
static struct file *watched(int fd) {
    if (!ready || fd < 0 || fd >= MAX_FDS)
        return NULL;
    unsigned short index = __atomic_load_n(&by_fd[fd], __ATOMIC_ACQUIRE);
    return index ? &files[index - 1] : NULL;
}

/* Begins to watch what was opened, if it is a file below the directory. */
static void watch(int fd) {
    if (!ready || fd < 0 || fd >= MAX_FDS)
        return;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return;
    path[length] = 0;
    if (strncmp(path, directory, directory_length) || path[directory_length] != '/')
        return;
    struct stat status;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode))
        return;
    const char *name = strrchr(path, '/') + 1;
    pthread_mutex_lock(&lock);
    int index = 0;
    while (index < file_count && (files[index].device != status.st_dev || files[index].inode != status.st_ino))
        index++;
    if (index == file_count) {
        if (file_count == MAX_FILES)
            abort();
        struct file *file = &files[index];
        file->device = status.st_dev;
        file->inode = status.st_ino;
        file->durable_size = status.st_size;
        file->may_fill = !strncmp(path, full_below, strlen(full_below));
        /* Through /proc, so that a name that is gone or changed does not matter. It also keeps the inode from being used again. */
        file->fd = real_open(link, O_RDWR | O_CLOEXEC);
        if (file->fd < 0) {
            pthread_mutex_unlock(&lock);
            return;
        }
        snprintf(file->name, sizeof file->name, "%s", name);
        file_count++;
    }
    __atomic_store_n(&by_fd[fd], (unsigned short)(index + 1), __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
}

/* Remembers the content of the blocks from `begin` to `end`, where they were durable and are not remembered yet. */
static void remember(struct file *file, off_t begin, off_t end) {
    file->changed = 1;
    if (end > file->durable_size)
        end = file->durable_size;
    for (off_t block = begin / BLOCK; block * BLOCK < end; block++) {
        struct block *known = file->blocks;
        while (known && known->number != block)
            known = known->next;
        if (known)
            continue;
        known = calloc(1, sizeof *known);
        if (!known)
            abort();
        known->number = block;
        if (real_pread(file->fd, known->content, BLOCK, block * BLOCK) < 0)
            abort();
        known->next = file->blocks;
        file->blocks = known;
    }
}

/* Everything written so far is durable. */
static void settle(struct file *file) {
    struct stat status;
    if (fstat(file->fd, &status))
        abort();
    file->durable_size = status.st_size;
    file->changed = 0;
    while (file->blocks) {
        struct block *next = file->blocks->next;
        free(file->blocks);
        file->blocks = next;
    }
}

/* Puts bytes back. */
static void restore(struct file *file, const unsigned char *content, size_t length, off_t offset) {
    if (offset >= file->durable_size)
        return;
    if ((off_t)length > file->durable_size - offset)
        length = (size_t)(file->durable_size - offset);
    if (real_pwrite(file->fd, content, length, offset) != (ssize_t)length)
        abort();
}

enum portion { ALL, SOME_BLOCKS, SOME_SECTORS };

/* Puts back what was not synced: all of it, or a random part. */
static void forget(struct file *file, enum portion portion) {
    struct stat status;
    if (!file->changed || fstat(file->fd, &status))
        return;
    /* What was appended may be there in part: cut at a random place, with random blocks of what stays never written. */
    if (status.st_size > file->durable_size) {
        off_t appended = status.st_size - file->durable_size;
        off_t kept = portion == ALL ? 0 : (off_t)(random_number() % (uint64_t)(appended + 1));
        static const unsigned char zeros[SECTOR];
        if (portion == SOME_BLOCKS && random_number() % 2)
            kept = appended;
        if (portion == SOME_SECTORS)
            kept = appended;
        if (real_ftruncate(file->fd, file->durable_size + kept))
            abort();
        for (off_t at = file->durable_size; portion != ALL && at + SECTOR <= file->durable_size + kept; at += SECTOR)
            if (random_number() % 4 == 0 && real_pwrite(file->fd, zeros, SECTOR, at) != SECTOR)
                abort();
    } else if (status.st_size < file->durable_size && (portion == ALL || random_number() % 2)) {
        /* The truncation did not reach the disk. */
        if (real_ftruncate(file->fd, file->durable_size))
            abort();
    } else if (status.st_size < file->durable_size) {
        file->durable_size = status.st_size;
    }
    for (struct block *block = file->blocks; block; block = block->next) {
        off_t offset = block->number * BLOCK;
        if (portion == ALL || (portion == SOME_BLOCKS && random_number() % 2)) {
            restore(file, block->content, BLOCK, offset);
        } else if (portion == SOME_SECTORS) {
            for (int at = 0; at < BLOCK; at += SECTOR)
                if (random_number() % 2)
                    restore(file, block->content + at, SECTOR, offset + at);
        }
    }
}

/* One more intercepted change: the power may go now. The caller holds the lock, and has not made the change yet. */
static void count(const char *what, const char *name) {
    operations++;
    if (!cut || operations != cut)
        return;
    enum portion portion = (enum portion)(random_number() % 3);
    if (lie)
        portion = ALL;
    int changed = 0;
    for (int index = 0; index < file_count; index++) {
        changed += files[index].changed;
        forget(&files[index], portion);
    }
    say("cut at operation %ld, before a %s of %s; %d files had unsynced changes, portion %d\n", operations, what, name, changed, portion);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Whether what is to fail fails now. */
static int failing(void) {
    return !when[0] || access(when, F_OK) == 0;
}

/* What a write gives: an error while the disk is full, and none of it is done. */
#define UNLESS_FULL(file, call) (full && (file)->may_fill && failing() ? (errno = ENOSPC, -1) : (call))

static int flags_truncate(int flags) {
    return (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY;
}

/* Opens without truncating, watches, and truncates as a change of its own. */
static int open_watched(int at, const char *path, int flags, mode_t mode) {
    int truncate_it = ready && flags_truncate(flags);
    int fd = real_openat(at, path, truncate_it ? flags & ~O_TRUNC : flags, mode);
    int error = errno;
    watch(fd);
    if (truncate_it && fd >= 0 && ftruncate(fd, 0)) {
        error = errno;
        real_close(fd);
        fd = -1;
    }
    errno = error;
    return fd;
}

#define MODE(flags)                                  \
    mode_t mode = 0;                                 \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
        va_list arguments;                           \
        va_start(arguments, flags);                  \
        mode = (mode_t)va_arg(arguments, unsigned); \
        va_end(arguments);                           \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_watched(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_watched(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_watched(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_watched(at, path, flags | O_LARGEFILE, mode);
}

int close(int fd) {
    if (ready && fd >= 0 && fd < MAX_FDS)
        __atomic_store_n(&by_fd[fd], 0, __ATOMIC_RELEASE);
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    struct file *file = watched(fd);
    if (!file)
        return real_pwrite(fd, bytes, length, offset);
    pthread_mutex_lock(&lock);
    count("write", file->name);
    remember(file, offset, offset + (off_t)length);
    ssize_t result = UNLESS_FULL(file, real_pwrite(fd, bytes, length, offset));
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}

/* Where a plain write goes. */
static off_t position(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return lseek(fd, 0, flags >= 0 && (flags & O_APPEND) ? SEEK_END : SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    struct file *file = watched(fd);
    if (!file)
        return real_write(fd, bytes, length);
    pthread_mutex_lock(&lock);
    count("write", file->name);
    off_t offset = position(fd);
    remember(file, offset, offset + (off_t)length);
    ssize_t result = UNLESS_FULL(file, real_write(fd, bytes, length));
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

ssize_t writev(int fd, const struct iovec *parts, int part_count) {
    struct file *file = watched(fd);
    if (!file)
        return real_writev(fd, parts, part_count);
    off_t length = 0;
    for (int part = 0; part < part_count; part++)
        length += (off_t)parts[part].iov_len;
    pthread_mutex_lock(&lock);
    count("write", file->name);
    off_t offset = position(fd);
    remember(file, offset, offset + length);
    ssize_t result = UNLESS_FULL(file, real_writev(fd, parts, part_count));
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int ftruncate64(int fd, off_t size) {
    struct file *file = watched(fd);
    if (!file)
        return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    count("truncation", file->name);
    remember(file, size, file->durable_size);
    int result = real_ftruncate(fd, size);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int ftruncate(int fd, off_t size) {
    return ftruncate64(fd, size);
}

static int sync_file(int fd, int (*real)(int)) {
    struct file *file = watched(fd);
    if (!file)
        return real(fd);
    pthread_mutex_lock(&lock);
    count("sync", file->name);
    int result = 0, error = 0;
    if (fail_sync && !strcmp(file->name, fail_name) && failing() && ++syncs == fail_sync) {
        say("sync %ld failed, of %s; unsynced changes: %d\n", syncs, file->name, file->changed);
        forget(file, ALL);
        settle(file);
        result = -1;
        error = EIO;
    } else if (!lie) {
        /* That the bytes are with the kernel is as durable as this test needs; a real sync would only be slower. */
        settle(file);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fsync(int fd) {
    return sync_file(fd, real_fsync);
}

int fdatasync(int fd) {
    return sync_file(fd, real_fdatasync);
}

/* Whether a path lies below the directory. */
static int below(const char *path) {
    return ready && !strncmp(path, directory, directory_length) && path[directory_length] == '/';
}

int rename(const char *from, const char *to) {
    if (below(from) || below(to)) {
        pthread_mutex_lock(&lock);
        count("rename", to);
        pthread_mutex_unlock(&lock);
    }
    return real_rename(from, to);
}

int unlink(const char *path) {
    if (below(path)) {
        pthread_mutex_lock(&lock);
        count("unlink", path);
        pthread_mutex_unlock(&lock);
    }
    return real_unlink(path);
}

int statvfs(const char *path, struct statvfs *into) {
    int result = real_statvfs(path, into);
    if (ready && no_space && !result && failing())
        into->f_bfree = into->f_bavail = 0;
    return result;
}
