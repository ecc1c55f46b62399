import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct VarianceTests {
    private static let samplePopulation = [
        Spread(isSample: false, isRoot: false), Spread(isSample: true, isRoot: true),
    ]

    private func closeEnough(_ a: Value, _ b: Double?, _ tolerance: Double) -> Bool {
        guard let b else { return a == .null }
        guard case .float(let a) = a else { return false }
        return a == b || abs(a - b) <= tolerance * abs(b)
    }

    /// The textbook's two passes in Float80 or, where there is none, in pairs of doubles.
    private func model(_ values: [Double], _ spread: Spread) -> Double? {
        guard spread.divisor(Int64(values.count)) != nil else { return nil }
        var sum = DoubleDouble(0)
        for value in values { sum = sum + DoubleDouble(value) }
        let mean = sum / Double(values.count)
        var squares = DoubleDouble(0)
        for value in values {
            let difference = DoubleDouble(value) + -mean
            squares = squares + difference * difference
        }
        return spread.value(squares.value, Int64(values.count))
    }

    @Test(arguments: [0.0, 1e3, 1e9, -1e15], [1, 2, 3] as [UInt64])
    func `the variance of floats is the two-pass one, however the rows are cut and merged`(
        offset: Double, seed: UInt64
    ) throws {
        var random = SplitMix(state: seed)
        let values: [Double?] = (0..<3000).map { _ in
            random.next() % 9 == 0 ? nil : offset + Double(random.next() >> 11) * 0x1p-50
        }
        let groups = values.map { _ in Int32(random.next() % 5) }
        for spread in VarianceTests.samplePopulation {
            let trial = AccumulatorTrial(
                kind: .floatVariance(scale: 0), finish: .spread(spread), columns: [.float64(values)], groups: groups)
            let expected = (0..<Int32(trial.groupCount)).map { group in
                model(zip(values, groups).compactMap { $1 == group ? $0 : nil }, spread)
            }
            for accumulator in [
                trial.onePass(), trial.onePass(batch: 7), try trial.inParts(&random), try trial.inParts(&random),
            ] {
                for (a, b) in zip(trial.results(accumulator), expected) {
                    #expect(closeEnough(a, b, 1e-12), "seed \(seed), \(a) instead of \(b ?? .nan)")
                }
            }
        }
    }

    @Test func `an outlier in front costs nothing`() throws {
        var random = SplitMix(state: 5)
        let values = [1e12] + (0..<5000).map { _ in Double(random.next() >> 11) * 0x1p-53 }
        let trial = AccumulatorTrial(
            kind: .floatVariance(scale: 0), finish: .spread(Spread(isSample: true, isRoot: false)),
            columns: [.float64(values)], groups: values.map { _ in 0 })
        let expected = model(values, Spread(isSample: true, isRoot: false))
        for accumulator in [trial.onePass(), try trial.inParts(&random)] {
            #expect(closeEnough(trial.results(accumulator)[0], expected, 1e-13))
        }
    }

    /// Numbers of five digits behind the highest bits: squares need 126 bits, and their sum more than 128.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func `integers and short decimals are exact, also where sums of squares need more than 128 bits`(
        seed: UInt64
    ) throws {
        var random = SplitMix(state: seed)
        let offset = [0, Int64.max - 200_000, .min, 1 << 53][Int(seed - 1)]
        let values = (0..<2000).map { _ in offset + Int64(random.next() % 100_000) }
        let spread = Spread(isSample: true, isRoot: false)
        // The variance does not change with the offset: small numbers are exact in doubles.
        let small = values.map { Double($0 - offset) }
        let squares = small.reduce(0) { $0 + $1 * $1 } * 2000 - small.reduce(0, +) * small.reduce(0, +)
        let expected = squares / 2000 / 1999
        let groups = [Int32](repeating: 0, count: values.count)
        let integers = AccumulatorTrial(
            kind: .integerVariance(scale: 0), finish: .spread(spread), columns: [.int64(values)], groups: groups)
        let whole = integers.results(integers.onePass())
        #expect(closeEnough(whole[0], expected, 1e-15), "seed \(seed)")
        for _ in 0..<4 { #expect(integers.results(try integers.inParts(&random)) == whole, "seed \(seed)") }
        let type = DataType.decimal(precision: 18, scale: 3)
        let decimals = AccumulatorTrial(
            kind: .integerVariance(scale: 3), finish: .spread(spread),
            columns: [Column(type, .decimal(Values(small.map { Int128($0) })))], groups: groups)
        #expect(closeEnough(decimals.results(decimals.onePass())[0], expected / 1e6, 1e-15))
        let wide = AccumulatorTrial(
            kind: .floatVariance(scale: 3), finish: .spread(spread),
            columns: [
                Column(
                    .decimal(precision: 38, scale: 3),
                    .decimal(Values(small.map { Int128($0) + 1_000_000_000_000_000_000_000_000_000_000 })))
            ], groups: groups)
        #expect(closeEnough(wide.results(wide.onePass())[0], expected / 1e6, 1e-12))
        #expect(closeEnough(wide.results(try wide.inParts(&random))[0], expected / 1e6, 1e-12))
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `rows that are taken back leave the variance of the others`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        func unit() -> Double { Double(random.next() >> 11) * 0x1p-53 }
        let stay = (0..<500).map { _ in unit() * 10 }
        let go = (0..<2000).map { i in i == 7 ? 1e9 : i == 8 ? .infinity : i == 9 ? 1e300 : unit() * 1000 - 500 }
        let order = (stay.map { ($0, true) } + go.map { ($0, false) }).shuffled(using: &random)
        let spread = Spread(isSample: false, isRoot: false)
        func check(_ kind: AccumulatorKind, _ column: ([Double]) -> Column, _ limit: Double, _ tolerance: Double) {
            let order = order.filter { abs($0.0) < limit }
            let all = AccumulatorTrial(
                kind: kind, finish: .spread(spread), columns: [column(order.map(\.0))], groups: order.map { _ in 0 })
            let accumulator = all.onePass(batch: 100)
            let back = order.filter { !$0.1 }.map(\.0)
            let ids = back.map { _ in Int32(0) }
            let input = AggregateInput(columns: [column(back)], selection: nil, count: back.count)
            ids.withUnsafeBufferPointer { accumulator.retract(input, $0) }
            let expected = model(kind == .integerVariance(scale: 0) ? stay.map { $0.rounded(.down) } : stay, spread)
            let found = all.results(accumulator)[0]
            #expect(closeEnough(found, expected, tolerance), "seed \(seed), \(found) instead of \(expected ?? .nan)")
        }
        // 1e9² among 1e3: what is left of the error of sums of 1e18 is below 1e-10 of the variance.
        check(.floatVariance(scale: 0), { .float64($0) }, .greatestFiniteMagnitude.nextUp, 1e-10)
        check(.floatVariance(scale: 0), { .float64($0) }, 1e6, 1e-13)
        check(.integerVariance(scale: 0), { .int64($0.map { Int64($0.rounded(.down)) }) }, 1e10, 1e-15)
    }
}

@Suite struct FloatSumTests {
    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func `sums of floats that cancel are right to 1e-12, however the rows are cut and merged`(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        // Exactly known: multiples of a power of two, huge ones in pairs that cancel.
        var values: [Double] = []
        var exact: Int128 = 0
        for _ in 0..<500 {
            let small = Int64(random.next() % 2_000_001) - 1_000_000
            let huge = Double(Int64(random.next() >> 20)) * 1e6
            exact += Int128(small)
            values += [Double(small) * 0x1p-20, huge, -huge]
        }
        values = values.shuffled(using: &random) + [1e16, 1, -1e16]
        exact += 1 << 20
        let expected = Double(exact) * 0x1p-20
        let trial = AccumulatorTrial(
            kind: .floatSum, finish: .value, columns: [.float64(values)], groups: values.map { _ in 0 })
        for accumulator in [
            trial.onePass(), trial.onePass(batch: 1), try trial.inParts(&random), try trial.inParts(&random),
        ] {
            guard case .float(let sum) = trial.results(accumulator)[0] else {
                Issue.record("no sum")
                continue
            }
            #expect(abs(sum - expected) <= 1e-12 * abs(expected), "seed \(seed), \(sum) instead of \(expected)")
        }
    }
}
