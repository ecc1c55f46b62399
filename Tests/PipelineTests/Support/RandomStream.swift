import DataflowEndToEnd
import DataflowOperator
import DataflowTesting
import Foundation

/// Rows in several splits with everything that makes event time hard: disorder within and beyond what is declared,
/// repeated rows, null keys and values, times before 1970, a split without rows.
///
/// The same rows go through a pipeline (``script(batchRows:)``) and, as a table, into PostgreSQL (``load(into:)``).
struct RandomStream {
    struct Row {
        var time: Int64
        var key: String?
        var value: Int64?
    }

    /// Microseconds that a row may lie behind the latest of its split without being late.
    static let outOfOrderness: Int64 = 2_000_000
    static let schema = Schema([
        Field("t", .timestamp), Field("k", .string), Field("v", .int64),
    ])

    let seed: UInt64
    private(set) var splits: [[Row]]

    init(seed: UInt64, splits count: Int = 3, rows: Int = 200) {
        self.seed = seed
        var random = SplitMix(state: seed)
        let keys: [String?] = ["a", "b", "c", "a key longer than twelve bytes", nil]
        splits = (0..<count).map { split in
            var now = Int64(-30_000_000) + Int64.random(in: 0..<5_000_000, using: &random)
            var made: [Row] = []
            while made.count < rows {
                if let last = made.last, Int.random(in: 0..<20, using: &random) == 0 {
                    made.append(last)
                    continue
                }
                // Bursts and pauses; whole seconds now and then, so that rows lie on the edges of windows.
                now +=
                    Int.random(in: 0..<40, using: &random) == 0
                    ? 9_000_000 : Int64.random(in: 0..<400_000, using: &random)
                let kind = Int.random(in: 0..<10, using: &random)
                let behind: Int64 =
                    switch kind {
                    case 0: Int64.random(in: 0..<20_000_000, using: &random)
                    case 1...3: Int64.random(in: 0...RandomStream.outOfOrderness, using: &random)
                    default: 0
                    }
                var time = now - behind
                if kind >= 8 { time -= ((time % 1_000_000) + 1_000_000) % 1_000_000 }
                made.append(
                    Row(
                        time: time, key: keys[Int.random(in: 0..<keys.count, using: &random)],
                        value: Int.random(in: 0..<8, using: &random) == 0
                            ? nil : Int64.random(in: -50...50, using: &random)))
            }
            return made
        }
        // A split that never brings a row must not hold anything back once it has ended.
        splits.append([])
    }

    mutating func append(split rows: [Row]) { splits.append(rows) }

    var rowCount: Int { splits.reduce(0) { $0 + $1.count } }

    /// The rows as batches of a source, split by split.
    func script(batchRows: Int) -> MemoryScript {
        MemoryScript(
            RandomStream.schema,
            splits: splits.map { rows in
                stride(from: 0, to: rows.count, by: batchRows).map { start in
                    .batch(
                        RecordBatch(
                            RandomStream.schema,
                            rows: rows[start..<min(rows.count, start + batchRows)].map { row in
                                [
                                    .timestamp(row.time), row.key.map { .string($0) } ?? .null,
                                    row.value.map { .int($0) } ?? .null,
                                ]
                            }))
                }
            })
    }

    /// The table `events` and the view `rows`, in which `m` is the split's watermark where a row is behind it.
    func load(into database: TestDatabase) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/events.tsv"
        let null = "\\N"
        let lines = splits.enumerated().flatMap { split, rows in
            rows.enumerated().map { position, row in
                "\(split)\t\(position)\t\(row.time)\t\(row.key ?? null)\t\(row.value.map(String.init) ?? null)\n"
            }
        }
        try lines.joined().write(toFile: path, atomically: false, encoding: .utf8)
        try database.query("create table events (split int, pos int, t bigint, k text, v bigint)")
        try database.query(#"\copy events from '\#(path)'"#)
        try database.query(
            """
            create view rows as
            select split, pos, t, k, v, case when t < mark then mark end as m
            from (
                select *, max(t) over (
                    partition by split order by pos rows between unbounded preceding and 1 preceding
                ) - \(RandomStream.outOfOrderness) as mark
                from events) marked
            """)
    }
}
