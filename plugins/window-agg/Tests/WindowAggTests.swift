import DataflowOperator
import DataflowTesting
import Synchronization
import Testing

@testable import WindowAgg

/// Settings from code.
func settings(
    groups: [String] = [], _ aggregates: [(String, String)], window: WindowShape = .global, time: String? = nil,
    lateness: Duration = .zero, condition: String? = nil, emit: Emission? = nil
) throws -> WindowAggConfig {
    var config = WindowAggConfig()
    config.groupBy = GroupBy(try groups.map { ($0, try ExpressionText($0)) })
    config.aggregates = ConfigMap(try aggregates.map { .init($0.0, try AggregateText($0.1)) })
    config.window = window
    config.time = time.map { Located($0) }
    config.allowedLateness = lateness
    config.condition = try condition.map { try ExpressionText($0) }
    config.emit = emit
    return config
}

/// The columns that the tests' rows have.
let columns: [Field] = [
    Field("t", .timestamp), Field("id", .int64, nullable: false), Field("g", .string), Field("k", .int32),
    Field("x", .int64), Field("f", .float64), Field("s", .string), Field("b", .bool), Field("flag", .bool),
    Field("d", .decimal(precision: 12, scale: 2)), Field("l", .list(.string)),
]
let schema = Schema(columns)
/// Positions by name, for the oracle.
let at = Dictionary(uniqueKeysWithValues: columns.enumerated().map { ($1.name, $0) })

/// A random row with nulls; floats are quarters, so that sums are exact in any order.
func randomRow(_ id: Int64, time: Int64, _ random: inout SplitMix) -> [Value] {
    func maybe(_ value: @autoclosure () -> Value) -> Value { random.next() % 7 == 0 ? .null : value() }
    func n(_ bound: UInt64) -> Int64 { Int64(random.next() % bound) }
    let words = ["", "a", "b", "ä", "a longer text than fits", "a longer text than fitt", "zz"]
    return [
        .timestamp(time), .int(id), maybe(.string(["x", "y", "another long group name"][Int(n(3))])),
        maybe(.int(n(4) - 1)),
        maybe(.int(n(9) - 4)), maybe(.float(Double(n(41) - 20) / 4)), maybe(.string(words[Int(n(7))])),
        maybe(.bool(n(2) == 0)), maybe(.bool(n(3) > 0)), maybe(.decimal(Int128(n(2001) - 1000), scale: 2)),
        maybe(.list((0..<n(3)).map { _ in .string(words[Int(n(7))]) })),
    ]
}

/// Aggregates by name: what is written, and the same over a group's boxed rows in the order of arrival.
struct Oracle: Sendable {
    var text: String
    var ordered = false
    var compute: @Sendable ([[Value]]) -> Value
}

private func number(_ value: Value) -> Double {
    switch value {
    case .int(let v): Double(v)
    case .float(let v): v
    default: 0
    }
}

/// SQL's order of values of one type.
func precedes(_ a: Value, _ b: Value) -> Bool {
    switch (a, b) {
    case (.int(let a), .int(let b)): a < b
    case (.float(let a), .float(let b)): a < b
    case (.decimal(let a, _), .decimal(let b, _)): a < b
    case (.string(let a), .string(let b)): a.utf8.lexicographicallyPrecedes(b.utf8)
    case (.bool(let a), .bool(let b)): !a && b
    case (.list(let a), .list(let b)): a.lexicographicallyPrecedes(b, by: precedes)
    case (_, .null): a != .null
    default: false
    }
}

private func values(_ rows: [[Value]], _ name: String, _ filter: String? = nil) -> [Value] {
    rows.filter { row in filter.map { row[at[$0] ?? 0] == .bool(true) } ?? true }.map { $0[at[name] ?? 0] }
        .filter { $0 != .null }
}

private func mode(_ values: [Value]) -> Value {
    Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +).max { a, b in
        a.value != b.value ? a.value < b.value : precedes(b.key, a.key)
    }?.key ?? .null
}

private func best(_ rows: [[Value]], _ value: String, by order: String, max: Bool) -> Value {
    let candidates = rows.map { ($0[at[order] ?? 0], $0[at[value] ?? 0]) }.filter { $0.0 != .null }
    let top = candidates.min { a, b in
        if a.0 != b.0 { return max ? precedes(b.0, a.0) : precedes(a.0, b.0) }
        return precedes(a.1, b.1)
    }
    return top?.1 ?? .null
}

private func sum(_ values: [Value]) -> Value {
    values.isEmpty ? .null : .int(values.reduce(0) { if case .int(let v) = $1 { $0 + v } else { $0 } })
}

private func text(_ value: Value) -> String { if case .string(let text) = value { text } else { "" } }

/// SQL's `percentile_disc`, as a double.
private func quantile(_ values: [Value], _ fraction: Double) -> Value {
    let sorted = values.map(number).sorted()
    guard !sorted.isEmpty else { return .null }
    return .float(sorted[max(0, Int((fraction * Double(sorted.count)).rounded(.up)) - 1)])
}

private func top(_ values: [Value], _ count: Int) -> Value {
    let sorted = Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +).sorted { a, b in
        a.value != b.value ? a.value > b.value : precedes(a.key, b.key)
    }
    return sorted.isEmpty ? .null : .list(sorted.prefix(count).map { .structure([$0.key, .int(Int64($0.value))]) })
}

let oracles: [String: Oracle] = [
    "n": Oracle(text: "count(*)") { .int(Int64($0.count)) },
    "nx": Oracle(text: "count(x)") { .int(Int64(values($0, "x").count)) },
    "nf": Oracle(text: "count(*) filter (where flag)") {
        .int(Int64($0.filter { $0[at["flag"] ?? 0] == .bool(true) }.count))
    },
    "ds": Oracle(text: "count(distinct s)") { .int(Int64(Set(values($0, "s")).count)) },
    "dl": Oracle(text: "count(distinct l)") { .int(Int64(Set(values($0, "l")).count)) },
    "sx": Oracle(text: "sum(x)") { sum(values($0, "x")) },
    "sk": Oracle(text: "sum(k) filter (where flag)") { sum(values($0, "k", "flag")) },
    "ax": Oracle(text: "avg(x)") {
        let x = values($0, "x")
        return x.isEmpty ? .null : .float(x.map(number).reduce(0, +) / Double(x.count))
    },
    "sf": Oracle(text: "sum(f)") {
        let f = values($0, "f")
        return f.isEmpty ? .null : .float(f.map(number).reduce(0, +))
    },
    "af": Oracle(text: "avg(f) filter (where flag)") {
        let f = values($0, "f", "flag")
        return f.isEmpty ? .null : .float(f.map(number).reduce(0, +) / Double(f.count))
    },
    "sd": Oracle(text: "sum(d)") {
        let d = values($0, "d")
        return d.isEmpty
            ? .null : .decimal(d.reduce(0) { if case .decimal(let v, _) = $1 { $0 + v } else { $0 } }, scale: 2)
    },
    "lo": Oracle(text: "min(x)") { values($0, "x").min(by: precedes) ?? .null },
    "hi": Oracle(text: "max(f)") { values($0, "f").max(by: precedes) ?? .null },
    "los": Oracle(text: "min(s)") { values($0, "s").min(by: precedes) ?? .null },
    "his": Oracle(text: "max(s) filter (where flag)") { values($0, "s", "flag").max(by: precedes) ?? .null },
    "hid": Oracle(text: "max(d)") { values($0, "d").max(by: precedes) ?? .null },
    "hil": Oracle(text: "max(l)") { values($0, "l").max(by: precedes) ?? .null },
    "lok": Oracle(text: "min(k)") { values($0, "k").min(by: precedes) ?? .null },
    "ba": Oracle(text: "bool_and(b)") {
        let b = values($0, "b")
        return b.isEmpty ? .null : .bool(!b.contains(.bool(false)))
    },
    "bo": Oracle(text: "bool_or(b) filter (where flag)") {
        let b = values($0, "b", "flag")
        return b.isEmpty ? .null : .bool(b.contains(.bool(true)))
    },
    "mb": Oracle(text: "min_by(s, x)") { best($0, "s", by: "x", max: false) },
    "mx": Oracle(text: "max_by(x, s)") { best($0, "x", by: "s", max: true) },
    "ms": Oracle(text: "mode(s)") { mode(values($0, "s")) },
    "mf": Oracle(text: "mode(x) filter (where flag)") { mode(values($0, "x", "flag")) },
    "sdx": Oracle(text: "sum(distinct x)") { sum(Array(Set(values($0, "x")))) },
    "adf": Oracle(text: "avg(distinct f) filter (where flag)") {
        let f = Set(values($0, "f", "flag"))
        return f.isEmpty ? .null : .float(f.map(number).reduce(0, +) / Double(f.count))
    },
    "cs": Oracle(text: "collect_set(s)") {
        let s = Set(values($0, "s")).sorted(by: precedes)
        return s.isEmpty ? .null : .list(s)
    },
    "cl": Oracle(text: "collect_list(s, 5 order by x desc nulls first) filter (where flag)") { rows in
        let rows = rows.filter { $0[at["flag"] ?? 0] == .bool(true) && $0[at["s"] ?? 0] != .null }
        let sorted = rows.map { ($0[at["x"] ?? 0], $0[at["s"] ?? 0]) }.sorted { a, b in
            if a.0 != b.0 { return a.0 == .null || (b.0 != .null && precedes(b.0, a.0)) }
            return precedes(a.1, b.1)
        }
        return sorted.isEmpty ? .null : .list(sorted.prefix(5).map(\.1))
    },
    "sa": Oracle(text: "string_agg(distinct s, ' | ')") {
        let s = Set(values($0, "s")).sorted(by: precedes)
        return s.isEmpty ? .null : .string(s.map(text).joined(separator: " | "))
    },
    "qf": Oracle(text: "approx_quantile(f, 0.9)") { quantile(values($0, "f"), 0.9) },
    "qx": Oracle(text: "approx_quantile(x, 0.5)") { quantile(values($0, "x"), 0.5) },
    "tk": Oracle(text: "approx_top_k(s, 2)") { top(values($0, "s"), 2) },
    "tl": Oracle(text: "approx_top_k(l, 3) filter (where flag)") { top(values($0, "l", "flag"), 3) },
    "cla": Oracle(text: "collect_list(x, 7)", ordered: true) {
        let x = values($0, "x")
        return x.isEmpty ? .null : .list(Array(x.prefix(7)))
    },
    "saa": Oracle(text: "string_agg(s, ';')", ordered: true) {
        let s = values($0, "s")
        return s.isEmpty ? .null : .string(s.map(text).joined(separator: ";"))
    },
    "acd": Oracle(text: "approx_count_distinct(s)", ordered: true) { .int(Int64(Set(values($0, "s")).count)) },
    "fi": Oracle(text: "first(s)", ordered: true) { values($0, "s").first ?? .null },
    "an": Oracle(text: "any(f)", ordered: true) { values($0, "f").first ?? .null },
    "la": Oracle(text: "last(l)", ordered: true) { values($0, "l").last ?? .null },
]

/// Names of the aggregates, in a fixed order; the ones that depend on the order of rows only where there is one.
func aggregateNames(ordered: Bool) -> [String] {
    oracles.filter { ordered || !$0.value.ordered }.keys.sorted()
}

func aggregateTexts(ordered: Bool) -> [(String, String)] {
    aggregateNames(ordered: ordered).map { ($0, oracles[$0]?.text ?? "") }
}

/// Rows grouped and aggregated one at a time: key values in front, aggregates behind.
func expected(_ rows: [[Value]], by key: ([Value]) -> [Value], ordered: Bool) -> [[Value]: [Value]] {
    Dictionary(grouping: rows, by: key).mapValues { rows in
        aggregateNames(ordered: ordered).map { oracles[$0]?.compute(rows) ?? .null }
    }
}

/// What several instances hold, divided again for another number of them, as a restore does it.
func redistributed(_ states: [StateSnapshot], to parallelism: Int) -> [StateSnapshot] {
    (0..<parallelism).map { subtask in
        var names: [String] = []
        for name in states.joined().map(\.name) where !names.contains(name) { names.append(name) }
        return names.compactMap { name in
            guard let first = states.lazy.compactMap({ $0[name] }).first else { return nil }
            var table = first
            table.batches = states.enumerated().flatMap { old, state in
                (state[name]?.batches ?? []).compactMap { batch -> RecordBatch? in
                    switch first.distribution {
                    case .subtask: return old % parallelism == subtask ? batch : nil
                    case .split: return batch
                    case .keyGroup(let column):
                        return batch.filter(
                            Bitmap(count: batch.rowCount) { row in
                                guard case .int(let group) = batch.columns[column].value(at: row) else { return false }
                                return KeyGroup.subtask(of: Int32(group), parallelism: parallelism) == subtask
                            })
                    }
                }
            }
            let owned = KeyGroup.range(of: subtask, parallelism: parallelism)
            table.files = states.flatMap { $0[name]?.files ?? [] }.compactMap { file in
                let range = owned.clamped(to: file.keyGroups)
                return range.isEmpty ? nil : StateTable.File(file.contents, keyGroups: range, mark: file.mark)
            }
            return table
        }
    }
}

/// Several instances with rows spread over them as an exchange does.
struct Fleet {
    var instances: [OperatorHarness<WindowAgg>]
    let route: (RecordBatch) -> Values<UInt64>

    func process(_ batch: RecordBatch) throws {
        let hashes = route(batch)
        for (index, instance) in instances.enumerated() {
            let own = Bitmap(count: batch.rowCount) {
                KeyGroup.subtask(of: KeyGroup.of(hash: hashes[$0]), parallelism: instances.count) == index
            }
            if own.setCount > 0 { try instance.process(batch.filter(own)) }
        }
    }

    func advance(to watermark: Watermark) throws { for instance in instances { try instance.advance(to: watermark) } }
    func advanceClock(by time: Duration) throws { for instance in instances { try instance.advanceClock(by: time) } }
    func finish() throws { for instance in instances { try instance.finish() } }
    func checkpoint() throws -> [StateSnapshot] { try instances.map { try $0.checkpoint() } }
    /// What came out since the last call, instance by instance.
    func take() -> [Emitted] { instances.map { $0.take() } }
    var accountsForEveryRow: Bool { instances.allSatisfy { $0.accountsForEveryRow } }
    var spilledBytes: Int { instances.reduce(0) { $0 + $1.context.counters.spilledBytes.load(ordering: .relaxed) } }
}

/// Upserts and deletes applied to a table.
func apply(_ emitted: [Emitted], keys: Int, to table: inout [[Value]: [Value]]) {
    for one in emitted {
        for change in one.changes() {
            let key = Array(change.row.prefix(keys))
            table[key] = change.isDelete ? nil : Array(change.row.dropFirst(keys))
        }
    }
}
