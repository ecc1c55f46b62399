import DataflowOperator

/// `min` and `max` of numbers (but decimals), dates and timestamps over streams that take nothing back.
///
/// Values are kept as int64 whose order is theirs, so one loop serves all types: a float's bits with those below the
/// sign turned round when it is negative. NaN comes after all numbers.
final class ExtremeAccumulator: Accumulator {
    private struct Cell {
        var key: Int64 = 0
        var isSet = false
    }
    private var cells = Cells(Cell())
    private let type: DataType
    private let isMax: Bool

    init(_ type: DataType, isMax: Bool) {
        self.type = type
        self.isMax = isMax
    }

    var byteCount: Int { 0 }
    var bytesPerGroup: Int { MemoryLayout<Cell>.stride }
    func grow(to bound: Int) { cells.grow(to: bound) }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        take(input.columns[0], input.selection, groups)
    }

    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        preconditionFailure("an extreme without its values cannot take one back")
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) { take(state[0], state[0].validity, groups) }

    func merge(
        _ other: any Accumulator, _ sources: UnsafeBufferPointer<Int32>, into groups: UnsafeBufferPointer<Int32>
    ) {
        guard let other = other as? ExtremeAccumulator else { return merge(other.state(sources), groups) }
        let (base, source) = (cells.base, other.cells.base)
        for i in 0..<groups.count {
            let cell = base + Int(groups[i])
            let part = source[Int(sources[i])]
            guard part.isSet else { continue }
            if !cell.pointee.isSet || (isMax ? part.key > cell.pointee.key : part.key < cell.pointee.key) {
                cell.pointee = part
            }
        }
    }

    private func take(_ column: Column, _ selection: Bitmap?, _ groups: UnsafeBufferPointer<Int32>) {
        switch column.storage {
        case .int32(let values): values.withUnsafeBufferPointer { v in take(selection, groups) { Int64(v[$0]) } }
        case .int64(let values): values.withUnsafeBufferPointer { v in take(selection, groups) { v[$0] } }
        case .float32(let values):
            values.withUnsafeBufferPointer { v in take(selection, groups) { ExtremeAccumulator.key(Double(v[$0])) } }
        case .float64(let values):
            values.withUnsafeBufferPointer { v in take(selection, groups) { ExtremeAccumulator.key(v[$0]) } }
        case .bool, .decimal, .view, .list, .structure: preconditionFailure("an extreme of \(type) has another kind")
        }
    }

    @inline(__always)
    private func take(_ selection: Bitmap?, _ groups: UnsafeBufferPointer<Int32>, _ key: (Int) -> Int64) {
        let base = cells.base
        if isMax {
            eachRow(selection, groups.count) { i in
                let cell = base + Int(groups[i])
                let key = key(i)
                if key > cell.pointee.key || !cell.pointee.isSet { cell.pointee = Cell(key: key, isSet: true) }
            }
        } else {
            eachRow(selection, groups.count) { i in
                let cell = base + Int(groups[i])
                let key = key(i)
                if key < cell.pointee.key || !cell.pointee.isSet { cell.pointee = Cell(key: key, isSet: true) }
            }
        }
    }

    @inline(__always)
    private static func key(_ value: Double) -> Int64 {
        let bits = Int64(bitPattern: value.isNaN ? Double.nan.bitPattern : value.bitPattern)
        return bits ^ ((bits >> 63) & .max)
    }

    @inline(__always)
    private static func value(_ key: Int64) -> Double {
        Double(bitPattern: UInt64(bitPattern: key ^ ((key >> 63) & .max)))
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        let storage: Column.Storage
        switch type {
        case .int32, .date: storage = .int32(cells.values(groups) { Int32(truncatingIfNeeded: $0.key) })
        case .float32: storage = .float32(cells.values(groups) { Float(ExtremeAccumulator.value($0.key)) })
        case .float64: storage = .float64(cells.values(groups) { ExtremeAccumulator.value($0.key) })
        default: storage = .int64(cells.values(groups) { $0.key })
        }
        return [Column(type, storage, validity: cells.validity(groups) { $0.isSet })]
    }

    func rowState(_ input: AggregateInput) -> [Column] { [input.columns[0].withValidity(input.selection)] }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column { state(groups)[0] }

    func clear(_ groups: UnsafeBufferPointer<Int32>) { cells.clear(groups) }
}
