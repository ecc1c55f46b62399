// Preloaded into a program, stands between it and libc: a wall clock that jumps, a disk that is slow or full.
#define _GNU_SOURCE
#include "CFaults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile struct dataflow_faults *faults;

__attribute__((constructor)) static void map_faults(void) {
    const char *path = getenv("DATAFLOW_FAULTS");
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0) return;
    void *memory = mmap(NULL, sizeof(struct dataflow_faults), PROT_READ, MAP_SHARED, descriptor, 0);
    if (memory != MAP_FAILED) faults = memory;
    close(descriptor);
}

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int is_below(const char *path) {
    size_t length = strlen((const char *)faults->folder);
    return length > 0 && strncmp(path, (const char *)faults->folder, length) == 0;
}

static int is_full(int descriptor) {
    if (!faults || !faults->disk_full) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

static void delay(void) {
    if (faults && faults->sync_delay > 0) usleep((useconds_t)faults->sync_delay);
}

// The wall clock.

int clock_gettime(clockid_t clock, struct timespec *time) {
    NEXT(clock_gettime);
    int result = next(clock, time);
    if (result == 0 && faults && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t nanoseconds = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + faults->clock_offset;
        time->tv_sec = nanoseconds / 1000000000;
        time->tv_nsec = nanoseconds % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *target) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (target) *target = now.tv_sec;
    return now.tv_sec;
}

// The disk.

int fsync(int descriptor) {
    NEXT(fsync);
    delay();
    return next(descriptor);
}

int fdatasync(int descriptor) {
    NEXT(fdatasync);
    delay();
    return next(descriptor);
}

// A disk that fills takes a part of what is written first, as a real one does.
#define WRITE(name, parameters, arguments) \
    ssize_t name parameters { \
        NEXT(name); \
        if (is_full(descriptor)) { \
            if (count < 4096) { \
                errno = ENOSPC; \
                return -1; \
            } \
            count /= 2; \
        } \
        return next arguments; \
    }

WRITE(write, (int descriptor, const void *bytes, size_t count), (descriptor, bytes, count))
WRITE(pwrite, (int descriptor, const void *bytes, size_t count, off_t offset), (descriptor, bytes, count, offset))
WRITE(pwrite64, (int descriptor, const void *bytes, size_t count, off64_t offset), (descriptor, bytes, count, offset))

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        NEXT(name); \
        mode_t mode = 0; \
        if (flags & O_CREAT) { \
            va_list arguments; \
            va_start(arguments, flags); \
            mode = va_arg(arguments, mode_t); \
            va_end(arguments); \
            if (faults && faults->disk_full && is_below(path)) { \
                errno = ENOSPC; \
                return -1; \
            } \
        } \
        return next(path, flags, mode); \
    }

OPEN(open)
OPEN(open64)
