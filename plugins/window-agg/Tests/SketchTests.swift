import DataflowOperator
import DataflowTesting
import Glibc
import Testing

@testable import WindowAgg

/// Long runs: `DATAFLOW_SOAK=1`.
private let isSoaking = getenv("DATAFLOW_SOAK") != nil

@Suite struct SketchTests {
    // MARK: approx_count_distinct

    @Test(arguments: [0, 1, 10, 1000, 3072, 3073, 10_000, isSoaking ? 1_000_000 : 50_000])
    func `the number of distinct values is within the documented error`(count: Int) throws {
        for (seed, column) in [
            Column.int64((0..<max(1, count)).map { count == 0 ? nil : Int64($0) }),
            Column.float64((0..<max(1, count)).map { count == 0 ? nil : Double($0) * 0.1 - 7 }),
        ].enumerated() {
            let trial = AccumulatorTrial(
                kind: .distinctSketch, finish: .distinctCount, columns: [column],
                groups: [Int32](repeating: 0, count: max(1, count)))
            let accumulator = trial.onePass()
            guard case .int(let estimate) = trial.results(accumulator)[0] else {
                Issue.record("no estimate")
                continue
            }
            // Sparse: hardly any collisions. Dense: four standard errors.
            let bound = count <= 1000 ? 0 : count <= 3072 ? 2 : 0.0325 * Double(count)
            #expect(abs(Double(estimate) - Double(count)) <= bound, "column \(seed): \(estimate) instead of \(count)")
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `over many sets the error of a distinct count is unbiased and as large as HyperLogLog's`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let sets = isSoaking ? 100 : 8
        var errors: [Double] = []
        for count in isSoaking ? [5000, 20_000, 60_000] : [5000, 15_000] {
            let first = Int64(random.next() >> 2)
            let values = (0..<count * sets).map { first &+ Int64($0) }
            let trial = AccumulatorTrial(
                kind: .distinctSketch, finish: .distinctCount, columns: [.int64(values)],
                groups: values.indices.map { Int32($0 / count) })
            for case .int(let estimate) in trial.results(trial.onePass()) {
                errors.append(Double(estimate) / Double(count) - 1)
            }
        }
        let mean = errors.reduce(0, +) / Double(errors.count)
        let deviation = (errors.reduce(0) { $0 + $1 * $1 } / Double(errors.count)).squareRoot()
        // The mean of n sets is known to 0.81 % / sqrt(n): four times that.
        #expect(abs(mean) < 0.0325 / Double(errors.count).squareRoot(), "seed \(seed): mean \(mean)")
        #expect(deviation > 0.002 && deviation < 0.0162, "seed \(seed): deviation \(deviation)")
    }

    @Test(arguments: [100, 3000, 3200, 40_000], [1, 2] as [UInt64])
    func `a distinct count does not depend on parts and their order, nor does its state`(
        count: Int, seed: UInt64
    ) throws {
        var random = SplitMix(state: seed)
        let texts: [String?] = (0..<count * 2).map { _ in
            random.next() % 11 == 0 ? nil : "user-\(random.next() % UInt64(count))"
        }
        let trial = AccumulatorTrial(
            kind: .distinctSketch, finish: .distinctCount, columns: [.string(texts)],
            groups: texts.indices.map { Int32($0 % 7 == 0 ? 1 : 0) })
        let whole = trial.onePass()
        let state = try trial.state(whole)[0].allValues
        for _ in 0..<4 {
            let merged = try trial.inParts(&random)
            #expect(trial.results(merged) == trial.results(whole), "seed \(seed)")
            #expect(try trial.state(merged)[0].allValues == state, "seed \(seed)")
        }
    }

    // MARK: approx_quantile

    private static let fractions = [0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1]

    @Test(arguments: Spreading.allCases, [10, 1000, isSoaking ? 1_000_000 : 40_000])
    func `a quantile is within the documented error of a value at its rank`(spreading: Spreading, count: Int) throws {
        var random = SplitMix(state: UInt64(count))
        let values = spreading.values(count, &random)
        let trial = AccumulatorTrial(
            kind: .quantileSketch(scale: 0), finish: .quantile(0.5), columns: [.float64(values)],
            groups: values.map { _ in 0 })
        let accumulator = trial.onePass()
        let sorted = values.sorted()
        let isExact = Set(sorted).count <= QuantileSketchAccumulator.maxBuckets
        // Widths by the octaves that the data span; see docs/aggregates.md.
        let bound =
            switch spreading {
            case .constant: 0.0
            case .narrow: 2e-8
            // 2^20 and less to one: 24 octaves at 64 buckets.
            case .sorted, .zipf: 1.0 / 129
            // Both signs, and down to the smallest that came: up to 48 octaves at 32 buckets.
            case .uniform, .latencies: 1.0 / 65
            }
        for fraction in SketchTests.fractions {
            guard case .float(let found) = trial.results(accumulator, .quantile(fraction))[0] else {
                Issue.record("no quantile")
                continue
            }
            let place = fraction * Double(count)
            let rank = max(1, Int((place - place * 1e-15).rounded(.up)))
            let exact = sorted[rank - 1]
            #expect(
                abs(found - exact) <= (isExact ? 0 : bound * abs(exact)),
                "\(spreading) of \(count): \(fraction) is \(found) instead of \(exact)")
        }
    }

    @Test(arguments: Spreading.allCases, [1, 2] as [UInt64])
    func `a quantile does not depend on parts and their order, nor does its state`(
        spreading: Spreading, seed: UInt64
    ) throws {
        var random = SplitMix(state: seed)
        let values = spreading.values(8000, &random) + [.nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude]
        let trial = AccumulatorTrial(
            kind: .quantileSketch(scale: 0), finish: .quantile(0.9), columns: [.float64(values.map { $0 })],
            groups: values.indices.map { Int32($0 % 5 == 0 ? 1 : 0) })
        let whole = trial.onePass()
        let state = try trial.state(whole)[0].allValues
        for _ in 0..<4 {
            let merged = try trial.inParts(&random)
            #expect(trial.results(merged) == trial.results(whole), "seed \(seed)")
            #expect(try trial.state(merged)[0].allValues == state, "seed \(seed)")
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `values that are taken back leave the quantiles of the others`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let stay = Spreading.latencies.values(2000, &random)
        let trial = AccumulatorTrial(
            kind: .quantileSketch(scale: 0), finish: .quantile(0.5), columns: [.float64(stay.map { $0 })],
            groups: stay.map { _ in 0 })
        let accumulator = trial.onePass()
        // Rows that come and go, also in small numbers, again and again.
        for round in 0..<60 {
            let go = Spreading.uniform.values(round % 3 == 0 ? 700 : 30, &random)
            let ids = [Int32](repeating: 0, count: go.count)
            let input = AggregateInput(columns: [.float64(go.map { $0 })], selection: nil, count: go.count)
            ids.withUnsafeBufferPointer {
                accumulator.update(input, $0)
                accumulator.retract(input, $0)
            }
        }
        let sorted = stay.sorted()
        for fraction in SketchTests.fractions {
            guard case .float(let found) = trial.results(accumulator, .quantile(fraction))[0] else {
                Issue.record("no quantile")
                continue
            }
            let exact = sorted[max(1, Int((fraction * 2000).rounded(.up))) - 1]
            #expect(abs(found - exact) <= 0.016 * abs(exact), "seed \(seed): \(fraction): \(found), \(exact)")
        }
        #expect(accumulator.byteCount <= 32 << 10)
    }

    // MARK: approx_top_k

    @Test(arguments: Spreading.allCases, [10, 1000, isSoaking ? 1_000_000 : 20_000])
    func `counts of the most frequent are never too high, and too low by at most n over the counters`(
        spreading: Spreading, count: Int
    ) throws {
        var random = SplitMix(state: UInt64(count))
        let values = spreading.values(count, &random)
        let counters = 100
        let trial = AccumulatorTrial(
            kind: .summary([.float64], .top(count: 5, counters: counters), retracts: false), finish: .value,
            columns: [.float64(values)], groups: values.map { _ in 0 })
        let truth = Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +)
        let bound = count / (counters + 1)
        for accumulator in [trial.onePass(), trial.onePass(batch: 100), try trial.inParts(&random)] {
            guard case .list(let top) = trial.results(accumulator)[0] else {
                Issue.record("no list")
                continue
            }
            var listed: [Double] = []
            for case .structure(let pair) in top {
                guard case .float(let value) = pair[0], case .int(let found) = pair[1] else { continue }
                listed.append(value)
                let exact = truth[value] ?? 0
                #expect(found <= exact && Int(found) >= exact - bound, "\(spreading) of \(count): \(value)")
                if truth.count <= counters * 2 { #expect(Int(found) == exact) }
            }
            // What is more frequent than the error is not missed.
            let frequent = truth.sorted { $0.value > $1.value }
            let fifth = frequent.count > 5 ? frequent[5].value : 0
            for (value, n) in frequent.prefix(5) where n > fifth + bound { #expect(listed.contains(value)) }
            #expect(top.count <= 5)
        }
    }

    // MARK: Damage

    @Test func `a damaged state of a sketch is refused, and never traps`() throws {
        var random = SplitMix(state: 9)
        for (kind, finish) in [
            (AccumulatorKind.distinctSketch, AggregateFinish.distinctCount),
            (.quantileSketch(scale: 0), .quantile(0.5)),
        ] {
            for count in [1, 300, 4000] {
                let values = Spreading.latencies.values(count, &random)
                let trial = AccumulatorTrial(
                    kind: kind, finish: finish, columns: [.float64(values.map { $0 })], groups: values.map { _ in 0 })
                guard case .bytes(let state) = try trial.state(trial.onePass())[0].value(at: 0) else {
                    Issue.record("no state")
                    continue
                }
                let rowStates = trial.empty().rowState(trial.input(0..<1))[0].allValues
                guard case .bytes(let single) = rowStates[0] else { continue }
                var damaged: [[UInt8]] = [[], [0], [0xFF], [state[0]], Array(state.dropLast()), state + [0]]
                damaged += [Array(single.dropLast()), single + [7]]
                for bytes in damaged {
                    let accumulator = try #require(trial.empty() as? any SketchAccumulator)
                    [0].withUnsafeBufferPointer { accumulator.merge([.bytes([bytes])], $0) }
                    #expect(accumulator.isDamaged)
                    #expect(trial.results(accumulator) == trial.results(trial.empty()))
                }
                for _ in 0..<100 {
                    var bytes = random.next() % 4 == 0 ? single : state
                    for _ in 0..<1 + random.next() % 4 {
                        bytes[Int(random.next() % UInt64(min(bytes.count, 400)))] = UInt8(random.next() & 0xFF)
                    }
                    let accumulator = trial.onePass()
                    [0].withUnsafeBufferPointer { accumulator.merge([.bytes([bytes])], $0) }
                    _ = trial.results(accumulator)
                    _ = try trial.state(accumulator)
                }
            }
        }
    }

    @Test func `a checkpoint with a damaged sketch is refused`() throws {
        let narrow = Schema([Field("v", .int64)])
        let config = try settings([("u", "approx_count_distinct(v)"), ("q", "approx_quantile(v, 0.5)")])
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(narrow))
        try harness.process([[1], [2], [3]], schema: narrow)
        var state = try harness.checkpoint()
        let batch = try #require(state["groups"]?.batches.first)
        let place = try #require(batch.schema.index(of: "#1.registers"))
        var columns = batch.columns
        columns[place] = .bytes([[0x12, 9]])
        state[0].batches = [RecordBatch(batch.schema, columns, rowCount: 1)]
        let error = #expect(throws: OperatorError.self) {
            _ = try OperatorHarness(WindowAgg.self, config, input: Stream(narrow), restoring: state)
        }
        #expect(error?.code == "damaged_state")
    }

    @Test func `numbers of a state are read back as they were written`() {
        var writer = SketchWriter()
        let numbers: [UInt64] = [0, 1, 127, 128, 1 << 32, .max]
        let signed: [Int64] = [0, -1, 63, -64, 64, .max, .min]
        for number in numbers { writer.append(number: number) }
        for number in signed { writer.append(signed: number) }
        writer.bytes.withUnsafeBytes { bytes in
            var reader = SketchReader(bytes)
            #expect(numbers.map { _ in reader.number() } == numbers)
            #expect(signed.map { _ in reader.signed() } == signed)
            #expect(reader.isAtEnd && reader.number() == nil)
        }
        [UInt8](repeating: 0xFF, count: 11).withUnsafeBytes { bytes in
            var reader = SketchReader(bytes)
            #expect(reader.number() == nil)
        }
    }

    @Test func `memory is what is documented, and given back`() throws {
        var random = SplitMix(state: 3)
        for (kind, most) in [(AccumulatorKind.distinctSketch, 16 << 10), (.quantileSketch(scale: 0), 32 << 10)] {
            let values = Spreading.latencies.values(100_000, &random)
            let trial = AccumulatorTrial(
                kind: kind, finish: .distinctCount, columns: [.float64(values.map { $0 })],
                groups: values.indices.map { Int32($0 % 2) })
            let accumulator = trial.onePass()
            #expect(accumulator.byteCount == 2 * most)
            [0, 1].withUnsafeBufferPointer { accumulator.clear($0) }
            #expect(accumulator.byteCount == 0)
        }
    }
}
