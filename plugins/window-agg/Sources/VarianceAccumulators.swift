import DataflowOperator

/// Which measure of spread: variance or its root, of a population or of a sample.
struct Spread: Sendable, Hashable {
    var isSample: Bool
    var isRoot: Bool

    /// Of the sum of squared differences from the mean, over so many values; nil where SQL has null.
    func value(_ squares: Double, _ count: Int64) -> Double? {
        guard let divisor = divisor(count) else { return nil }
        let variance = max(0, squares / divisor)
        return isRoot ? variance.squareRoot() : variance
    }

    /// What the sum of squares is divided by; nil where SQL has null: over no value, and of a sample over one.
    func divisor(_ count: Int64) -> Double? {
        let divisor = isSample ? count - 1 : count
        return divisor > 0 ? Double(divisor) : nil
    }
}

/// Standard deviation and variance of integers and of decimals of up to 18 digits: exact sums of x and x² in 128 and 192
/// bits, so that the result depends on nothing but the values. Rows can be taken back.
final class IntegerVarianceAccumulator: Accumulator {
    private struct Cell {
        var sum: Int128 = 0
        /// The sum of squares, 128 lower bits and what is above.
        var low: UInt128 = 0
        var high: Int64 = 0
        var count: Int64 = 0
    }
    private var cells = Cells(Cell())
    private let scale: Int

    init(scale: Int) { self.scale = scale }

    var byteCount: Int { 0 }
    var bytesPerGroup: Int { MemoryLayout<Cell>.stride }
    func grow(to bound: Int) { cells.grow(to: bound) }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(input, groups, isBack: false) }
    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(input, groups, isBack: true) }

    private func add(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>, isBack: Bool) {
        switch input.columns[0].storage {
        case .int32(let values):
            values.withUnsafeBufferPointer { v in add(input, groups, isBack) { Int64(v[$0]) } }
        case .int64(let values): values.withUnsafeBufferPointer { v in add(input, groups, isBack) { v[$0] } }
        case .decimal(let values):
            values.withUnsafeBufferPointer { v in add(input, groups, isBack) { Int64(truncatingIfNeeded: v[$0]) } }
        default: break
        }
    }

    @inline(__always)
    private func add(
        _ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>, _ isBack: Bool, _ value: (Int) -> Int64
    ) {
        let base = cells.base
        if isBack {
            eachRow(input.selection, input.count) { i in
                let cell = base + Int(groups[i])
                let value = value(i)
                let (low, borrow) = cell.pointee.low.subtractingReportingOverflow(Self.square(value))
                cell.pointee.low = low
                cell.pointee.high &-= borrow ? 1 : 0
                cell.pointee.sum &-= Int128(value)
                cell.pointee.count &-= 1
            }
        } else {
            eachRow(input.selection, input.count) { i in
                let cell = base + Int(groups[i])
                let value = value(i)
                let (low, carry) = cell.pointee.low.addingReportingOverflow(Self.square(value))
                cell.pointee.low = low
                cell.pointee.high &+= carry ? 1 : 0
                cell.pointee.sum &+= Int128(value)
                cell.pointee.count &+= 1
            }
        }
    }

    @inline(__always)
    private static func square(_ value: Int64) -> UInt128 {
        let product = value.magnitude.multipliedFullWidth(by: value.magnitude)
        return UInt128(product.high) << 64 | UInt128(product.low)
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        guard let sums = state[0].decimalValues, let lows = state[1].decimalValues, let highs = state[2].int64Values,
            let counts = state[3].int64Values
        else { return }
        for i in 0..<groups.count {
            let cell = cells.base + Int(groups[i])
            let (low, carry) = cell.pointee.low.addingReportingOverflow(UInt128(bitPattern: lows[i]))
            cell.pointee.low = low
            cell.pointee.high &+= highs[i] &+ (carry ? 1 : 0)
            cell.pointee.sum &+= sums[i]
            cell.pointee.count &+= counts[i]
        }
    }

    private func columns(
        _ sums: Values<Int128>, _ lows: Values<Int128>, _ highs: Values<Int64>, _ counts: Values<Int64>
    ) -> [Column] {
        [
            Column(.decimal(precision: 38, scale: scale), .decimal(sums)),
            Column(.decimal(precision: 38, scale: 0), .decimal(lows)), Column(.int64, .int64(highs)),
            Column(.int64, .int64(counts)),
        ]
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        columns(
            cells.values(groups) { $0.sum }, cells.values(groups) { Int128(bitPattern: $0.low) },
            cells.values(groups) { $0.high }, cells.values(groups) { $0.count })
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        func values(_ of: (Int64) -> Int128) -> Values<Int128> {
            Values(count: input.count) { target in
                target.initialize(repeating: 0)
                switch input.columns[0].storage {
                case .int32(let v): eachRow(input.selection, input.count) { target[$0] = of(Int64(v[$0])) }
                case .int64(let v): eachRow(input.selection, input.count) { target[$0] = of(v[$0]) }
                case .decimal(let v):
                    eachRow(input.selection, input.count) { target[$0] = of(Int64(truncatingIfNeeded: v[$0])) }
                default: break
                }
            }
        }
        return columns(
            values { Int128($0) }, values { Int128(bitPattern: Self.square($0)) },
            Values(repeating: 0, count: input.count), CountAccumulator.ones(input))
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        guard case .spread(let spread) = finish else { return .nulls(type, count: groups.count) }
        let unit = Double.unit(ofScale: scale)
        return spread.column(groups) { group in
            let cell = cells[group]
            guard spread.divisor(cell.count) != nil else { return nil }
            // n Σx² - (Σx)² is n times the sum of squared differences from the mean, exactly, in 256 bits.
            let count = UInt128(cell.count.magnitude)
            let square = cell.sum.magnitude.multipliedFullWidth(by: cell.sum.magnitude)
            let scaled = cell.low.multipliedFullWidth(by: count)
            let (low, borrow) = scaled.low.subtractingReportingOverflow(square.low)
            let high =
                scaled.high &+ UInt128(UInt64(bitPattern: cell.high)) &* count &- square.high &- (borrow ? 1 : 0)
            let difference = Double(high) * 0x1p128 + Double(low)
            return spread.value(difference / Double(cell.count) / unit / unit, cell.count)
        }
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) { cells.clear(groups) }
}

extension Spread {
    /// One result a group.
    func column(_ groups: UnsafeBufferPointer<Int32>, _ result: (Int32) -> Double?) -> Column {
        var values: [Double] = []
        var valid: [Bool] = []
        for group in groups {
            let value = result(group)
            values.append(value ?? 0)
            valid.append(value != nil)
        }
        return Column(.float64, .float64(Values(values)), validity: valid.contains(false) ? Bitmap(valid) : nil)
    }
}

/// Standard deviation and variance of floats and of decimals of more than 18 digits.
///
/// Sums of d and d² in about 106 bits, d being the difference from the first value of the group; a merge moves one side's
/// sums to the other's first value (Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
/// Sample Variances", 1979). Because that value is one of the data, n values lose at most a factor of n to cancellation:
/// the relative error stays below about n² · 2^-103, whatever the order of rows and the parts they came in.
///
/// Rows can be taken back; what was taken back leaves an error of 2^-104 of the largest sums there were, until the group
/// is empty. NaN and infinities give NaN, as in PostgreSQL; values of 2^500 (3e150) and more give infinity.
final class FloatVarianceAccumulator: Accumulator {
    private struct Cell {
        /// What is subtracted from each value.
        var shift = 0.0
        var sum = DoubleDouble(0)
        var squares = DoubleDouble(0)
        /// Finite values.
        var count: Int64 = 0
        /// NaN and infinities.
        var unbounded: Int64 = 0
        var huge: Int64 = 0
    }
    private var cells = Cells(Cell())
    private static let limit = 0x1p500
    private let scale: Int

    /// - Parameter scale: of decimals. Their sums are those of the scaled integers.
    init(scale: Int) { self.scale = scale }

    var byteCount: Int { 0 }
    var bytesPerGroup: Int { MemoryLayout<Cell>.stride }
    func grow(to bound: Int) { cells.grow(to: bound) }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(1, input, groups) }
    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(-1, input, groups) }

    private func add(_ sign: Int64, _ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        switch input.columns[0].storage {
        case .float32(let values):
            values.withUnsafeBufferPointer { v in add(sign, input, groups) { DoubleDouble(Double(v[$0])) } }
        case .float64(let values):
            values.withUnsafeBufferPointer { v in add(sign, input, groups) { DoubleDouble(v[$0]) } }
        case .decimal(let values):
            values.withUnsafeBufferPointer { v in add(sign, input, groups) { Self.number(v[$0]) } }
        default: break
        }
    }

    /// An integer as two doubles.
    private static func number(_ value: Int128) -> DoubleDouble {
        let high = Double(value)
        return DoubleDouble(high, Int128(exactly: high).map { Double(value &- $0) } ?? 0)
    }

    @inline(__always)
    private func add(
        _ sign: Int64, _ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>,
        _ value: (Int) -> DoubleDouble
    ) {
        let base = cells.base
        eachRow(input.selection, input.count) { i in
            let cell = base + Int(groups[i])
            let value = value(i)
            guard abs(value.high) < Self.limit else {
                if value.high.isFinite { cell.pointee.huge += sign } else { cell.pointee.unbounded += sign }
                return
            }
            if cell.pointee.count == 0 {
                cell.pointee.shift = value.high
                cell.pointee.sum = DoubleDouble(0)
                cell.pointee.squares = DoubleDouble(0)
            }
            cell.pointee.count &+= sign
            var difference = DoubleDouble.sum(value.high, -cell.pointee.shift)
            difference = DoubleDouble.sum(difference.high, difference.low + value.low)
            let square = difference * difference
            cell.pointee.sum = cell.pointee.sum + (sign > 0 ? difference : -difference)
            cell.pointee.squares = cell.pointee.squares + (sign > 0 ? square : -square)
        }
    }

    /// The states' columns, in order. The type of the first tells the scale of decimals to the stage behind the exchange.
    static func fields(scale: Int) -> [(suffix: String, type: DataType)] {
        [
            ("count", scale == 0 ? .int64 : .decimal(precision: 38, scale: scale)), ("unbounded", .int64),
            ("huge", .int64), ("shift", .float64), ("sum", .float64), ("sum_low", .float64), ("squares", .float64),
            ("squares_low", .float64),
        ]
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        let counts = state[1...2].compactMap(\.int64Values)
        let doubles = state.compactMap(\.float64Values)
        guard counts.count == 2, doubles.count == 5 else { return }
        for i in 0..<groups.count {
            let cell = cells.base + Int(groups[i])
            cell.pointee.unbounded += counts[0][i]
            cell.pointee.huge += counts[1][i]
            let count = state[0].int64Values?[i] ?? Int64(truncatingIfNeeded: state[0].decimalValues?[i] ?? 0)
            guard count != 0 else { continue }
            if cell.pointee.count == 0 {
                cell.pointee.shift = doubles[0][i]
                cell.pointee.sum = DoubleDouble(0)
                cell.pointee.squares = DoubleDouble(0)
            }
            let sum = DoubleDouble(doubles[1][i], doubles[2][i])
            let squares = DoubleDouble(doubles[3][i], doubles[4][i])
            // Σ(x-a) = Σ(x-b) + n(b-a),  Σ(x-a)² = Σ(x-b)² + 2(b-a)Σ(x-b) + n(b-a)²
            let move = DoubleDouble.sum(doubles[0][i], -cell.pointee.shift)
            let moved = move * DoubleDouble(Double(count))
            cell.pointee.sum = cell.pointee.sum + (sum + moved)
            cell.pointee.squares =
                cell.pointee.squares + (squares + (move * (DoubleDouble(2 * sum.high, 2 * sum.low) + moved)))
            cell.pointee.count &+= count
        }
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        let counts: Column.Storage =
            scale == 0
            ? .int64(cells.values(groups) { $0.count }) : .decimal(cells.values(groups) { Int128($0.count) })
        return [
            Column(Self.fields(scale: scale)[0].type, counts),
            Column(.int64, .int64(cells.values(groups) { $0.unbounded })),
            Column(.int64, .int64(cells.values(groups) { $0.huge })),
            Column(.float64, .float64(cells.values(groups) { $0.shift })),
            Column(.float64, .float64(cells.values(groups) { $0.sum.high })),
            Column(.float64, .float64(cells.values(groups) { $0.sum.low })),
            Column(.float64, .float64(cells.values(groups) { $0.squares.high })),
            Column(.float64, .float64(cells.values(groups) { $0.squares.low })),
        ]
    }

    /// A row is a group of one: its own first value, with sums of zero or what a double does not hold of it.
    func rowState(_ input: AggregateInput) -> [Column] {
        let single = FloatVarianceAccumulator(scale: scale)
        single.grow(to: input.count)
        let rows = Values<Int32>(count: input.count) { target in
            for i in 0..<target.count { target[i] = Int32(truncatingIfNeeded: i) }
        }
        return rows.withUnsafeBufferPointer { rows in
            single.update(input, rows)
            return single.state(rows)
        }
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        guard case .spread(let spread) = finish else { return .nulls(type, count: groups.count) }
        let unit = Double.unit(ofScale: scale)
        return spread.column(groups) { group in
            let cell = cells[group]
            let count = cell.count + cell.unbounded + cell.huge
            guard spread.divisor(count) != nil else { return nil }
            if cell.unbounded > 0 { return .nan }
            if count == 1 { return 0 }
            if cell.huge > 0 { return .infinity }
            let squares = cell.squares + -((cell.sum * cell.sum) / Double(count))
            return spread.value(squares.value / unit / unit, count)
        }
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) { cells.clear(groups) }
}
