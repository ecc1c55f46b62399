/// Windows whose results are to be told, in order: of all groups, or of those that changed.
struct WindowJobs {
    struct Job {
        var window: Int64
        var slices: [SliceTable.Slice]
        /// Nil: all groups.
        var changed: SliceTable.Selection?
    }

    private struct Run {
        var windows: WindowList
        var slices: [SliceTable.Slice]
        var changed: SliceTable.Selection?
    }

    private var runs: [Run] = []

    /// Queues windows, `slices` being all that there are.
    mutating func append(_ windows: WindowList, _ slices: [SliceTable.Slice], changed: SliceTable.Selection?) {
        runs.append(Run(windows: windows, slices: slices, changed: changed))
    }

    mutating func next() -> Job? {
        while !runs.isEmpty {
            if let window = runs[0].windows.popFirst() {
                return Job(window: window, slices: runs[0].slices, changed: runs[0].changed)
            }
            runs.removeFirst()
        }
        return nil
    }
}
