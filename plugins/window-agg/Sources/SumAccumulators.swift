import DataflowOperator

/// `sum` and `avg` of int32 and int64: exact in 128 bits, whatever the order of rows.
///
/// The sum is an int64; a group whose sum does not fit gets null and a row on the errors port.
final class IntegerSumAccumulator: Accumulator {
    private struct Cell {
        var sum: Int128 = 0
        var count: Int64 = 0
    }
    private var cells = Cells(Cell())

    var byteCount: Int { 0 }
    var bytesPerGroup: Int { MemoryLayout<Cell>.stride }
    func grow(to bound: Int) { cells.grow(to: bound) }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(1, input, groups) }
    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(-1, input, groups) }

    private func add(_ sign: Int64, _ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        switch input.columns[0].storage {
        case .int32(let values):
            values.withUnsafeBufferPointer { v in add(sign, input, groups) { Int128(v[$0]) } }
        case .int64(let values):
            values.withUnsafeBufferPointer { v in add(sign, input, groups) { Int128(v[$0]) } }
        default: break
        }
    }

    @inline(__always)
    private func add(
        _ sign: Int64, _ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>, _ value: (Int) -> Int128
    ) {
        let base = cells.base
        if sign > 0 {
            eachRow(input.selection, input.count) { i in
                let cell = base + Int(groups[i])
                cell.pointee.sum &+= value(i)
                cell.pointee.count &+= 1
            }
        } else {
            eachRow(input.selection, input.count) { i in
                let cell = base + Int(groups[i])
                cell.pointee.sum &-= value(i)
                cell.pointee.count &-= 1
            }
        }
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        guard let sums = state[0].decimalValues, let counts = state[1].int64Values else { return }
        let base = cells.base
        sums.withUnsafeBufferPointer { sums in
            counts.withUnsafeBufferPointer { counts in
                for i in 0..<groups.count {
                    let cell = base + Int(groups[i])
                    cell.pointee.sum &+= sums[i]
                    cell.pointee.count &+= counts[i]
                }
            }
        }
    }

    func merge(
        _ other: any Accumulator, _ sources: UnsafeBufferPointer<Int32>, into groups: UnsafeBufferPointer<Int32>
    ) {
        guard let other = other as? IntegerSumAccumulator else { return merge(other.state(sources), groups) }
        let (base, source) = (cells.base, other.cells.base)
        for i in 0..<groups.count {
            let cell = base + Int(groups[i])
            cell.pointee.sum &+= source[Int(sources[i])].sum
            cell.pointee.count &+= source[Int(sources[i])].count
        }
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        [
            Column(.decimal(precision: 38, scale: 0), .decimal(cells.values(groups) { $0.sum })),
            Column(.int64, .int64(cells.values(groups) { $0.count })),
        ]
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        let sums = Values<Int128>(count: input.count) { target in
            target.initialize(repeating: 0)
            switch input.columns[0].storage {
            case .int32(let values): eachRow(input.selection, input.count) { target[$0] = Int128(values[$0]) }
            case .int64(let values): eachRow(input.selection, input.count) { target[$0] = Int128(values[$0]) }
            default: break
            }
        }
        return [
            Column(.decimal(precision: 38, scale: 0), .decimal(sums)),
            Column(.int64, .int64(CountAccumulator.ones(input))),
        ]
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        if finish == .average {
            return Column(
                .float64, .float64(cells.values(groups) { $0.count == 0 ? 0 : Double($0.sum) / Double($0.count) }),
                validity: cells.validity(groups) { $0.count > 0 })
        }
        for i in 0..<groups.count where Int64(exactly: cells[groups[i]].sum) == nil {
            problems.append(
                ResultProblem(
                    position: i, code: "sum_out_of_range",
                    reason: "the sum \(cells[groups[i]].sum) does not fit into int64; sum a decimal(38,0) instead"))
        }
        return Column(
            .int64, .int64(cells.values(groups) { Int64(truncatingIfNeeded: $0.sum) }),
            validity: cells.validity(groups) { $0.count > 0 && Int64(exactly: $0.sum) != nil })
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) { cells.clear(groups) }
}

/// `sum` and `avg` of decimals: exact in 128 bits plus a count of carries, so that a sum that was out of range on the
/// way comes back.
final class DecimalSumAccumulator: Accumulator {
    private struct Cell {
        var sum: Int128 = 0
        var carry: Int64 = 0
        var count: Int64 = 0
    }
    private var cells = Cells(Cell())
    private let scale: Int
    /// The largest number of 38 digits.
    private static let limit: Int128 = (1...38).reduce(1) { (power, _) in power * 10 } - 1

    init(scale: Int) { self.scale = scale }

    var byteCount: Int { 0 }
    var bytesPerGroup: Int { MemoryLayout<Cell>.stride }
    func grow(to bound: Int) { cells.grow(to: bound) }

    private var stateType: DataType { .decimal(precision: 38, scale: scale) }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        guard let values = input.columns[0].decimalValues else { return }
        values.withUnsafeBufferPointer { v in
            eachRow(input.selection, input.count) { add(v[$0], 0, 1, cells.base + Int(groups[$0])) }
        }
    }

    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        guard let values = input.columns[0].decimalValues else { return }
        values.withUnsafeBufferPointer { v in
            eachRow(input.selection, input.count) { add(0 &- v[$0], 0, -1, cells.base + Int(groups[$0])) }
        }
    }

    @inline(__always)
    private func add(_ value: Int128, _ carry: Int64, _ count: Int64, _ cell: UnsafeMutablePointer<Cell>) {
        let (sum, overflow) = cell.pointee.sum.addingReportingOverflow(value)
        cell.pointee.sum = sum
        cell.pointee.carry += carry + (overflow ? (value > 0 ? 1 : -1) : 0)
        cell.pointee.count += count
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        guard let sums = state[0].decimalValues, let carries = state[1].int64Values, let counts = state[2].int64Values
        else { return }
        for i in 0..<groups.count { add(sums[i], carries[i], counts[i], cells.base + Int(groups[i])) }
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        [
            Column(stateType, .decimal(cells.values(groups) { $0.sum })),
            Column(.int64, .int64(cells.values(groups) { $0.carry })),
            Column(.int64, .int64(cells.values(groups) { $0.count })),
        ]
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        let values = input.columns[0].decimalValues
        let sums = Values<Int128>(count: input.count) { target in
            target.initialize(repeating: 0)
            eachRow(input.selection, input.count) { target[$0] = values?[$0] ?? 0 }
        }
        return [
            Column(stateType, .decimal(sums)), Column(.int64, .int64(Values(repeating: 0, count: input.count))),
            Column(.int64, .int64(CountAccumulator.ones(input))),
        ]
    }

    private static func isInRange(_ cell: Cell) -> Bool {
        cell.carry == 0 && cell.sum >= -limit && cell.sum <= limit
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        guard case .decimal(_, let resultScale) = type else { return .nulls(type, count: groups.count) }
        var factor: Int128 = 1
        for _ in scale..<max(scale, resultScale) { factor *= 10 }
        var values: [Int128] = []
        var valid: [Bool] = []
        for (i, group) in groups.enumerated() {
            let cell = cells[group]
            var value: Int128? = cell.count > 0 && DecimalSumAccumulator.isInRange(cell) ? cell.sum : nil
            if finish == .average, let sum = value {
                value = DecimalSumAccumulator.divide(sum, factor, by: Int128(cell.count))
            }
            if cell.count > 0 && value == nil {
                problems.append(
                    ResultProblem(
                        position: i, code: "sum_out_of_range",
                        reason: "the sum has more than 38 digits; sum a float64 instead"))
            }
            values.append(value ?? 0)
            valid.append(value != nil)
        }
        return Column(type, .decimal(Values(values)), validity: valid.contains(false) ? Bitmap(valid) : nil)
    }

    /// `sum * factor / count`, rounded half away from zero; nil when it has more than 38 digits.
    static func divide(_ sum: Int128, _ factor: Int128, by count: Int128) -> Int128? {
        let magnitude = sum.magnitude
        let whole = magnitude / count.magnitude
        let rest = magnitude % count.magnitude
        // The rest is below 2^63 and the factor at most 10^6: their product fits.
        let fine = rest * factor.magnitude
        let (high, overflow) = whole.multipliedReportingOverflow(by: factor.magnitude)
        guard !overflow else { return nil }
        let quotient = high + fine / count.magnitude + ((fine % count.magnitude) * 2 >= count.magnitude ? 1 : 0)
        guard quotient <= limit.magnitude else { return nil }
        return sum < 0 ? -Int128(quotient) : Int128(quotient)
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) { cells.clear(groups) }
}

/// `sum` and `avg` of floats: Neumaier's compensated sum with Knuth's error-free addition, about 106 bits, so that the
/// rounded result hardly ever depends on the order of rows. NaN and the infinities are counted apart, so that taking
/// them out again gives the finite sum back.
///
/// Sources: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen" (1974); D. Knuth,
/// The Art of Computer Programming, vol. 2, 4.2.2.
final class FloatSumAccumulator: Accumulator {
    private struct Cell {
        var sum = 0.0
        var rest = 0.0
        var count: Int64 = 0
    }
    private struct Specials {
        var nans = 0
        var positive = 0
        var negative = 0

        var isEmpty: Bool { nans == 0 && positive == 0 && negative == 0 }
        var sum: Double {
            nans != 0 || (positive != 0 && negative != 0) ? .nan : positive != 0 ? .infinity : -.infinity
        }

        mutating func add(_ value: Double, _ n: Int) {
            if value.isNaN { nans += n } else if value > 0 { positive += n } else { negative += n }
        }
    }
    private var cells = Cells(Cell())
    private var specials: [Int32: Specials] = [:]

    var byteCount: Int { 0 }
    var bytesPerGroup: Int { MemoryLayout<Cell>.stride }
    func grow(to bound: Int) { cells.grow(to: bound) }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(1, input, groups) }
    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(-1, input, groups) }

    private func add(_ sign: Double, _ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        switch input.columns[0].storage {
        case .float32(let values):
            values.withUnsafeBufferPointer { v in add(sign, input, groups) { Double(v[$0]) } }
        case .float64(let values): values.withUnsafeBufferPointer { v in add(sign, input, groups) { v[$0] } }
        default: break
        }
    }

    @inline(__always)
    private func add(
        _ sign: Double, _ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>, _ value: (Int) -> Double
    ) {
        let base = cells.base
        let one = Int64(sign)
        eachRow(input.selection, input.count) { i in
            let cell = base + Int(groups[i])
            cell.pointee.count &+= one
            let value = value(i)
            if value.isFinite {
                FloatSumAccumulator.add(sign * value, cell)
            } else {
                special(groups[i], value, Int(one))
            }
        }
    }

    @inline(__always)
    private static func add(_ value: Double, _ cell: UnsafeMutablePointer<Cell>) {
        let sum = cell.pointee.sum
        let total = sum + value
        let part = total - sum
        cell.pointee.rest += (sum - (total - part)) + (value - part)
        cell.pointee.sum = total
    }

    @inline(never)
    private func special(_ group: Int32, _ value: Double, _ n: Int) {
        specials[group, default: Specials()].add(value, n)
        if specials[group]?.isEmpty == true { specials[group] = nil }
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        guard let sums = state[0].float64Values, let rests = state[1].float64Values,
            let counts = state[2].int64Values
        else { return }
        let base = cells.base
        sums.withUnsafeBufferPointer { sums in
            rests.withUnsafeBufferPointer { rests in
                counts.withUnsafeBufferPointer { counts in
                    for i in 0..<groups.count {
                        let cell = base + Int(groups[i])
                        cell.pointee.count &+= counts[i]
                        if sums[i].isFinite {
                            FloatSumAccumulator.add(sums[i], cell)
                            cell.pointee.rest += rests[i]
                        } else {
                            special(groups[i], sums[i], 1)
                        }
                    }
                }
            }
        }
    }

    func merge(
        _ other: any Accumulator, _ sources: UnsafeBufferPointer<Int32>, into groups: UnsafeBufferPointer<Int32>
    ) {
        guard let other = other as? FloatSumAccumulator, other.specials.isEmpty else {
            return merge(other.state(sources), groups)
        }
        let (base, source) = (cells.base, other.cells.base)
        for i in 0..<groups.count {
            let cell = base + Int(groups[i])
            let part = source + Int(sources[i])
            cell.pointee.count &+= part.pointee.count
            // A sum that has become infinite on the way is a special one from here on.
            if part.pointee.sum.isFinite {
                FloatSumAccumulator.add(part.pointee.sum, cell)
                cell.pointee.rest += part.pointee.rest
            } else {
                special(groups[i], part.pointee.sum, 1)
            }
        }
    }

    private func total(_ group: Int32) -> (sum: Double, rest: Double) {
        if !specials.isEmpty, let special = specials[group] { return (special.sum, 0) }
        let cell = cells[group]
        return cell.sum.isFinite ? (cell.sum, cell.rest) : (cell.sum, 0)
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        [
            Column(
                .float64,
                .float64(Values(count: groups.count) { t in for i in 0..<t.count { t[i] = total(groups[i]).sum } })),
            Column(
                .float64,
                .float64(Values(count: groups.count) { t in for i in 0..<t.count { t[i] = total(groups[i]).rest } })),
            Column(.int64, .int64(cells.values(groups) { $0.count })),
        ]
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        let sums = Values<Double>(count: input.count) { target in
            target.initialize(repeating: 0)
            switch input.columns[0].storage {
            case .float32(let values): eachRow(input.selection, input.count) { target[$0] = Double(values[$0]) }
            case .float64(let values): eachRow(input.selection, input.count) { target[$0] = values[$0] }
            default: break
            }
        }
        return [
            Column(.float64, .float64(sums)), Column(.float64, .float64(UniformStates.zeros(input.count))),
            Column(.int64, .int64(CountAccumulator.ones(input))),
        ]
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        let isAverage = finish == .average
        let values = Values<Double>(count: groups.count) { target in
            if specials.isEmpty {
                let base = cells.base
                for i in 0..<target.count {
                    let cell = base[Int(groups[i])]
                    let sum = cell.sum.isFinite ? cell.sum + cell.rest : cell.sum
                    target[i] = isAverage && cell.count > 0 ? sum / Double(cell.count) : sum
                }
                return
            }
            for i in 0..<target.count {
                let (sum, rest) = total(groups[i])
                let count = cells[groups[i]].count
                target[i] = isAverage && count > 0 ? (sum + rest) / Double(count) : sum + rest
            }
        }
        return Column(.float64, .float64(values), validity: cells.validity(groups) { $0.count > 0 })
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) {
        cells.clear(groups)
        if !specials.isEmpty { for group in groups { specials[group] = nil } }
    }
}
