import CMalloc

/// The process's allocator (glibc's).
enum Allocator {
    /// Has memory that is given back returned to the kernel, for a run with a memory budget.
    ///
    /// By itself the allocator takes a freed block as a sign of more to come: blocks of up to 32 MiB then come from the heaps of its
    /// threads, where what was freed stays resident between what was not. Tables that grow and go, as state does that is put on
    /// disk again and again, left 90 MiB there with a budget of 128. With fixed thresholds large blocks are mappings of their own,
    /// unmapped when they are freed. Costs about a tenth of the CPU time of a run that spills all the time.
    static func returnFreedMemory() {
        // Larger than batches: mapping those as well, at 1 MiB, cost another fifth.
        _ = mallopt(M_MMAP_THRESHOLD, 4 << 20)
        // What lies free at the end of a heap.
        _ = mallopt(M_TRIM_THRESHOLD, 16 << 20)
    }
}
