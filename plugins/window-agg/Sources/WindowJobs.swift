/// Windows whose results are to be told, in order: of all groups, or of those that changed.
struct WindowJobs {
    struct Job {
        var window: Int64
        var slices: [SliceTable.Slice]
        /// Nil: all groups.
        var changed: SliceTable.Selection?
    }

    private struct Run {
        var windows: [Int64]
        var slices: [SliceTable.Slice]
        var changed: SliceTable.Selection?
    }

    private var runs: [Run] = []
    private var position = 0

    /// Queues windows, `slices` being all that there are.
    mutating func append(_ windows: [Int64], _ slices: [SliceTable.Slice], changed: SliceTable.Selection?) {
        runs.append(Run(windows: windows, slices: slices, changed: changed))
    }

    mutating func next() -> Job? {
        while let run = runs.first {
            if position < run.windows.count {
                defer { position += 1 }
                return Job(window: run.windows[position], slices: run.slices, changed: run.changed)
            }
            runs.removeFirst()
            position = 0
        }
        return nil
    }
}
