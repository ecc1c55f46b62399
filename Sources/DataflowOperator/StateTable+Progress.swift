import DataflowColumnar

// How far time has come, as state: of operators that let go of what a watermark has passed.

extension StateTable {
    private static let progressSchema = Schema([
        Field("split", .string, nullable: false), Field("time", .timestamp, nullable: false),
    ])

    /// A table named `progress` that holds one instant, in microseconds since the epoch.
    ///
    /// At a barrier all subtasks of a node have seen the same watermarks, so each gets what all of them wrote back,
    /// whatever the parallelism is then.
    public static func progress(_ time: Int64) -> StateTable {
        StateTable(
            "progress", distribution: .split(column: 0),
            [RecordBatch(progressSchema, [.string([""]), .timestamp([time])])])
    }
}

extension [StateTable] {
    /// The latest instant of the table `progress`; `Int64.min` where there is none. O(subtasks).
    public var progress: Int64 {
        (self["progress"]?.batches ?? []).reduce(.min) { latest, batch in
            guard let times = batch["time"]?.int64Values else { return latest }
            return Swift.max(latest, times.array.max() ?? .min)
        }
    }
}
