import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct CollectTests {
    private let words = ["", "a", "b", "bb", "ccc", "a text that is longer than a view holds"]

    private func byBytes(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }

    /// What fits, up to the first value that does not.
    private func joined(_ texts: [String], _ separator: String, _ bytes: Int) -> String {
        var taken: [String] = []
        var left = bytes + separator.utf8.count
        for text in texts {
            left -= max(1, text.utf8.count + separator.utf8.count)
            if left < 0 { break }
            taken.append(text)
        }
        return taken.joined(separator: separator)
    }

    @Test(arguments: [1, 3, 20, 1000], [1, 2, 3] as [UInt64])
    func `collections in an order depend on nothing but the values`(bound: Int, seed: UInt64) throws {
        var random = SplitMix(state: seed)
        // Few values that repeat and many that do not, so that groups are cut back and not.
        let texts: [String?] = (0..<1500).map { i in
            let n = random.next()
            return n % 9 == 0 ? nil : n % 2 == 0 ? words[Int(n / 18 % 6)] : "word \(n % 700)"
        }
        let groups = texts.map { _ in Int32(random.next() % 3) }
        func values(_ group: Int32) -> [String] {
            zip(texts, groups).compactMap { $1 == group ? $0 : nil }.sorted(by: byBytes)
        }
        func check(_ rule: CollectRule, _ expected: ([String]) -> Value) throws {
            let trial = AccumulatorTrial(
                kind: .summary([.string], .collect(rule), retracts: false),
                finish: .collected(isBoundGiven: true), columns: [.string(texts)], groups: groups)
            let wanted = (0..<Int32(3)).map { expected(values($0)) }
            for accumulator in [
                trial.onePass(), trial.onePass(batch: 7), try trial.inParts(&random), try trial.inParts(&random),
            ] {
                #expect(trial.results(accumulator) == wanted, "seed \(seed)")
            }
        }
        let order = [RowOrdering.Term(column: 0)]
        try check(CollectRule(limit: .values(bound), isSet: false, order: order)) {
            .list($0.prefix(bound).map { .string($0) })
        }
        try check(CollectRule(limit: .values(bound), isSet: true, order: order)) { values in
            .list(Set(values).sorted(by: byBytes).prefix(bound).map { .string($0) })
        }
        try check(
            CollectRule(
                limit: .values(bound), isSet: false, order: [RowOrdering.Term(column: 0, descending: true)])
        ) { .list($0.reversed().prefix(bound).map { .string($0) }) }
        for separator in ["", ", "] {
            try check(CollectRule(limit: .bytes(bound), separator: separator, isSet: false, order: order)) {
                .string(joined($0, separator, bound))
            }
            try check(CollectRule(limit: .bytes(bound), separator: separator, isSet: true, order: order)) {
                .string(joined(Set($0).sorted(by: byBytes), separator, bound))
            }
        }
    }

    @Test(arguments: [1, 3, 20, 1000], [1, 2, 3] as [UInt64])
    func `collections in the order of arrival are the first values, through merges in that order`(
        bound: Int, seed: UInt64
    ) throws {
        var random = SplitMix(state: seed)
        let texts: [String?] = (0..<1500).map { _ in
            random.next() % 9 == 0 ? nil : words[Int(random.next() % 6)]
        }
        let groups = texts.map { _ in Int32(random.next() % 3) }
        let values = (0..<Int32(3)).map { group in zip(texts, groups).compactMap { $1 == group ? $0 : nil } }
        let lists = CollectRule(limit: .values(bound), isSet: false, order: [])
        let text = CollectRule(limit: .bytes(bound), separator: "|", isSet: false, order: [])
        for (rule, wanted) in [
            (lists, values.map { Value.list($0.prefix(bound).map { .string($0) }) }),
            (text, values.map { Value.string(joined($0, "|", bound)) }),
        ] {
            let trial = AccumulatorTrial(
                kind: .list(.string, rule), finish: .collected(isBoundGiven: true), columns: [.string(texts)],
                groups: groups)
            for accumulator in [
                trial.onePass(), trial.onePass(batch: 7), try trial.inParts(&random, keepsOrder: true),
                try trial.inParts(&random, keepsOrder: true),
            ] {
                #expect(trial.results(accumulator) == wanted, "seed \(seed)")
                var problems: [ResultProblem] = []
                _ = [0, 1, 2].withUnsafeBufferPointer {
                    accumulator.result(.collected(isBoundGiven: false), .list(.string), $0, &problems)
                }
                #expect(problems.count == (bound < 1000 || rule == text ? 3 : 0))
            }
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `values that are taken back are not collected, and come back from behind the bound`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let rule = CollectRule(limit: .values(10), isSet: false, order: [RowOrdering.Term(column: 0)])
        let stay = (0..<40).map { _ in Int64(random.next() % 1000) }
        let go = (0..<200).map { _ in Int64(random.next() % 500) }
        let trial = AccumulatorTrial(
            kind: .summary([.int64], .collect(rule), retracts: true), finish: .collected(isBoundGiven: true),
            columns: [.int64((stay + go).shuffled(using: &random).map { $0 })], groups: (stay + go).map { _ in 0 })
        let accumulator = trial.onePass(batch: 30)
        let ids = go.map { _ in Int32(0) }
        ids.withUnsafeBufferPointer {
            accumulator.retract(AggregateInput(columns: [.int64(go.map { $0 })], selection: nil, count: go.count), $0)
        }
        #expect(trial.results(accumulator)[0] == .list(stay.sorted().prefix(10).map { .int($0) }), "seed \(seed)")
    }

    @Test func `groups that were emptied leave no memory behind and start anew`() throws {
        let rule = CollectRule(limit: .values(1000), isSet: false, order: [])
        let texts: [String?] = (0..<5000).map { "a text that is longer than a view holds, number \($0)" }
        let trial = AccumulatorTrial(
            kind: .list(.string, rule), finish: .collected(isBoundGiven: true), columns: [.string(texts)],
            groups: texts.indices.map { Int32($0 % 10) })
        let accumulator = trial.onePass()
        let before = trial.results(accumulator)
        #expect(accumulator.byteCount > 5000 * 40)
        (0..<10).map { Int32($0) }.withUnsafeBufferPointer { accumulator.clear($0) }
        #expect(accumulator.byteCount == 0)
        #expect(trial.results(accumulator) == [Value](repeating: .null, count: 10))
        trial.groups.withUnsafeBufferPointer { accumulator.update(trial.input(0..<5000), $0) }
        #expect(trial.results(accumulator) == before)
    }
}
