#ifndef CFAULTS_H
#define CFAULTS_H

#include <stdint.h>

/// What a program that was started with this library preloaded suffers now. It lies in the file that DATAFLOW_FAULTS names,
/// which is mapped by the program and by whoever plans its faults.
struct dataflow_faults {
    /// Nanoseconds that the wall clock is off.
    int64_t clock_offset;
    /// Microseconds that every fsync takes longer.
    int64_t sync_delay;
    /// Not 0: files below `folder` take no more bytes (ENOSPC).
    int64_t disk_full;
    char folder[4096];
};

#endif
