import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct SessionTableTests {
    /// Spans of each group by closed intervals, united one by one.
    private struct Model {
        var spans: [Int64: [(start: Int64, end: Int64, n: Int64)]] = [:]

        mutating func add(_ group: Int64, _ start: Int64, _ end: Int64) {
            var united = (start: start, end: end, n: Int64(1))
            var kept: [(start: Int64, end: Int64, n: Int64)] = []
            for span in spans[group] ?? [] {
                if span.start <= end && span.end >= start {
                    united = (min(united.start, span.start), max(united.end, span.end), united.n + span.n)
                } else {
                    kept.append(span)
                }
            }
            spans[group] = kept + [united]
        }

        var rows: Set<[Int64]> {
            Set(spans.flatMap { group, spans in spans.map { [group, $0.start, $0.end, $0.n] } })
        }
    }

    private func rows(_ table: SessionTable) -> Set<[Int64]> {
        let ids = table.liveIDs(0..<table.upperBound)
        return ids.withUnsafeBufferPointer { ids in
            let (starts, ends, keys) = table.columns(ids)
            let columns = [keys[0], starts, ends, table.groups.states(ids)[0]].map { $0.int64Values?.array ?? [] }
            return Set(ids.indices.map { row in columns.map { $0[row] } })
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `spans are united with all that they touch, however they are cut in batches`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        func n(_ bound: Int64) -> Int64 { Int64(random.next() % UInt64(bound)) }
        let layout = AggregateLayout(kinds: [.count], items: [])
        let table = SessionTable(keys: [.int64], layout)
        var model = Model()
        for _ in 0..<60 {
            let count = Int(n(seed % 2 == 0 ? 4 : 40)) + 1
            let groups = (0..<count).map { _ in n(5) }
            let starts = (0..<count).map { _ in n(2000) - 1000 }
            let ends = starts.map { $0 + 1 + (n(8) == 0 ? n(150) : n(12)) }
            for i in 0..<count { model.add(groups[i], starts[i], ends[i]) }
            let ids = table.place([.int64(groups)], starts: Values(starts), ends: Values(ends), count: count)
            let created = table.created.filter { table.contains($0) }
            table.settle()
            #expect(created.allSatisfy { table.contains($0) } && ids.allSatisfy { table.contains($0) })
            ids.withUnsafeBufferPointer {
                table.groups.merge([Column.int64(groups.map { _ in 1 })][...], $0)
            }
            #expect(rows(table) == model.rows, "seed \(seed)")
            #expect(table.count == model.rows.count)
            // Some leave.
            let all = table.liveIDs(0..<table.upperBound)
            let leaving = all.filter { _ in n(6) == 0 }
            let gone = rows(of: leaving, table)
            leaving.withUnsafeBufferPointer { table.remove($0) }
            for span in gone {
                model.spans[span[0]]?.removeAll { $0.start == span[1] && $0.end == span[2] }
            }
            #expect(rows(table) == model.rows, "seed \(seed)")
            #expect(table.groups.table.count == model.spans.values.filter { !$0.isEmpty }.count)
            #expect(Set(table.liveIDs(0..<table.upperBound).map { table[$0].stamp }).isEmpty == model.rows.isEmpty)
        }
        table.removeAll()
        #expect(table.count == 0 && table.groups.table.count == 0)
    }

    private func rows(of ids: [Int32], _ table: SessionTable) -> [[Int64]] {
        ids.withUnsafeBufferPointer { ids in
            let (starts, ends, keys) = table.columns(ids)
            let columns = [keys[0], starts, ends].map { $0.int64Values?.array ?? [] }
            return ids.indices.map { row in columns.map { $0[row] } }
        }
    }

    @Test func `the earliest deadline comes first`() {
        var random = SplitMix(state: 1)
        var heap = DeadlineHeap()
        var times: [Int64] = []
        for round in 0..<2000 {
            if random.next() % 3 == 0, let least = times.min() {
                #expect(heap.first?.time == least)
                heap.removeFirst()
                times.remove(at: times.firstIndex(of: least) ?? 0)
            } else {
                let time = Int64(random.next() % 100)
                heap.push(DeadlineHeap.Entry(time: time, id: Int32(round), stamp: 0))
                times.append(time)
            }
            #expect(heap.count == times.count)
        }
    }
}

@Suite struct PreAggregationBenefitTests {
    @Test(arguments: [(1, true), (3, false)])
    func `rows go past the table where keys hardly repeat, also when it is emptied often`(
        rowsAGroup: Int, isPoor: Bool
    ) {
        var benefit = PreAggregationBenefit()
        var wasPoor = false
        for _ in 0..<30 {
            #expect(!benefit.isBypassed(600) || wasPoor)
            guard !wasPoor else { break }
            wasPoor = benefit.isPoor(600, groups: 600 / rowsAGroup)
            benefit.flushed(600 / rowsAGroup)
        }
        #expect(wasPoor == isPoor)
    }
}
