import DataflowOperator
import DataflowTesting

@testable import WindowAgg

/// One kind of accumulator over rows with their groups: in one pass, or cut into parts that are aggregated, encoded and
/// merged as stages, exchanges and checkpoints do it.
struct AccumulatorTrial {
    var kind: AccumulatorKind
    var finish: AggregateFinish
    var columns: [Column]
    var groups: [Int32]

    var groupCount: Int { Int(groups.max() ?? -1) + 1 }
    private var allGroups: [Int32] { (0..<Int32(groupCount)).map { $0 } }

    func input(_ rows: Range<Int>) -> AggregateInput {
        let columns = columns.map { $0.slice(rows) }
        return AggregateInput(columns: columns, selection: columns.first?.validity, count: rows.count)
    }

    func results(_ accumulator: any Accumulator, _ finish: AggregateFinish? = nil) -> [Value] {
        let finish = finish ?? self.finish
        var problems: [ResultProblem] = []
        return allGroups.withUnsafeBufferPointer {
            accumulator.result(finish, kind.resultType(finish), $0, &problems).allValues
        }
    }

    func empty() -> any Accumulator {
        let accumulator = kind.make()
        accumulator.grow(to: groupCount)
        return accumulator
    }

    /// All rows, batch by batch.
    func onePass(batch: Int = 8192) -> any Accumulator {
        let accumulator = empty()
        var start = 0
        while start < groups.count {
            let end = min(groups.count, start + batch)
            let ids = Array(groups[start..<end])
            ids.withUnsafeBufferPointer { accumulator.update(input(start..<end), $0) }
            start = end
        }
        return accumulator
    }

    /// The state of all groups, through the coder of checkpoints.
    func state(_ accumulator: any Accumulator) throws -> [Column] {
        let columns = allGroups.withUnsafeBufferPointer { accumulator.state($0) }
        return try coded(columns, count: groupCount)
    }

    func coded(_ columns: [Column], count: Int) throws -> [Column] {
        let schema = Schema(kind.stateFields.map { Field($0.suffix, $0.type) })
        let batch = RecordBatch(schema, columns, rowCount: count)
        return try RecordBatchCoder.decode(RecordBatchCoder.encode(batch)).columns
    }

    /// Rows in runs, each taken by one of a few accumulators, some as states of single rows; then merged in some order.
    ///
    /// - Parameter keepsOrder: runs go to accumulators that are merged in the order of the rows.
    func inParts(_ random: inout SplitMix, keepsOrder: Bool = false) throws -> any Accumulator {
        var parts = [empty()]
        var start = 0
        while start < groups.count {
            let end = min(groups.count, start + 1 + Int(random.next() % UInt64(groups.count / 3 + 1)))
            let ids = Array(groups[start..<end])
            if parts.count < 6, random.next() % 2 == 0 { parts.append(empty()) }
            let part = parts[keepsOrder ? parts.count - 1 : Int(random.next() % UInt64(parts.count))]
            try ids.withUnsafeBufferPointer { ids in
                if end - start < 2000, random.next() % 3 == 0 {
                    part.merge(try coded(part.rowState(input(start..<end)), count: end - start), ids)
                } else {
                    part.update(input(start..<end), ids)
                }
            }
            start = end
        }
        while parts.count > 1 {
            let left = keepsOrder ? 0 : Int(random.next() % UInt64(parts.count - 1))
            let right = parts.remove(at: left + 1)
            if random.next() % 3 == 0 {
                // As windows merge their slices; each group through another number.
                let turned = allGroups.reversed() as [Int32]
                let other = empty()
                allGroups.withUnsafeBufferPointer { all in
                    turned.withUnsafeBufferPointer { turned in
                        other.merge(right, all, into: turned)
                        parts[left].merge(other, turned, into: all)
                    }
                }
                continue
            }
            let state = try state(right)
            // Once more into an empty one: what a restore does.
            let restored = empty()
            allGroups.withUnsafeBufferPointer { restored.merge(state, $0) }
            let again = try self.state(restored)
            allGroups.withUnsafeBufferPointer { parts[left].merge(again, $0) }
        }
        return parts[0]
    }
}

/// How values are spread in tests of sketches.
enum Spreading: String, CaseIterable {
    case uniform, zipf, sorted, constant, latencies, narrow

    func values(_ count: Int, _ random: inout SplitMix) -> [Double] {
        func unit() -> Double { Double(random.next() >> 11) * 0x1p-53 }
        return (0..<count).map { i in
            switch self {
            case .uniform: unit() * 1000 - 500
            case .zipf: (1 / max(1e-9, unit())).rounded(.down)
            case .sorted: Double(i)
            case .constant: 42.5
            // About log-normal, from microseconds to minutes.
            case .latencies:
                0.01 * (0..<4).reduce(1.0) { product, _ in product * (0.1 + 3 * unit()) / max(0.01, unit()) }
            // Large numbers that hardly differ, such as times of one day.
            case .narrow: 1_700_000_000 + unit() * 86_400
            }
        }
    }
}
