import DataflowOperator

/// `count(*)`, `count(x)`: rows that count.
final class CountAccumulator: Accumulator {
    private var cells = Cells<Int64>(0)

    var byteCount: Int { 0 }
    var bytesPerGroup: Int { MemoryLayout<Int64>.stride }
    func grow(to bound: Int) { cells.grow(to: bound) }

    /// The number of rows of a group.
    func count(_ group: Int32) -> Int64 { cells[group] }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        let base = cells.base
        eachRow(input.selection, input.count) { base[Int(groups[$0])] &+= 1 }
    }

    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        let base = cells.base
        eachRow(input.selection, input.count) { base[Int(groups[$0])] &-= 1 }
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        let base = cells.base
        state[0].int64Values?.withUnsafeBufferPointer { counts in
            for i in 0..<groups.count { base[Int(groups[i])] &+= counts[i] }
        }
    }

    func merge(
        _ other: any Accumulator, _ sources: UnsafeBufferPointer<Int32>, into groups: UnsafeBufferPointer<Int32>
    ) {
        guard let other = other as? CountAccumulator else { return merge(other.state(sources), groups) }
        let (base, source) = (cells.base, other.cells.base)
        for i in 0..<groups.count { base[Int(groups[i])] &+= source[Int(sources[i])] }
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        [Column(.int64, .int64(cells.values(groups) { $0 }))]
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        [Column(.int64, .int64(CountAccumulator.ones(input)))]
    }

    /// 1 where a row counts, else 0.
    static func ones(_ input: AggregateInput) -> Values<Int64> {
        guard let selection = input.selection else { return UniformStates.ones(input.count) }
        return Values(count: input.count) { target in
            for i in 0..<target.count { target[i] = selection[i] ? 1 : 0 }
        }
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column { state(groups)[0] }

    func clear(_ groups: UnsafeBufferPointer<Int32>) { cells.clear(groups) }
}

/// `bool_and`, `bool_or`: how many values were true and how many false.
final class BooleanAccumulator: Accumulator {
    private struct Cell {
        var trues: Int64 = 0
        var falses: Int64 = 0
    }
    private var cells = Cells(Cell())

    var byteCount: Int { 0 }
    var bytesPerGroup: Int { MemoryLayout<Cell>.stride }
    func grow(to bound: Int) { cells.grow(to: bound) }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(1, input, groups) }
    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { add(-1, input, groups) }

    private func add(_ sign: Int64, _ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        guard let values = input.columns[0].boolValues else { return }
        let base = cells.base
        eachRow(input.selection, input.count) { i in
            if values[i] { base[Int(groups[i])].trues += sign } else { base[Int(groups[i])].falses += sign }
        }
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        guard let trues = state[0].int64Values, let falses = state[1].int64Values else { return }
        for i in 0..<groups.count {
            cells.base[Int(groups[i])].trues += trues[i]
            cells.base[Int(groups[i])].falses += falses[i]
        }
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        [
            Column(.int64, .int64(cells.values(groups) { $0.trues })),
            Column(.int64, .int64(cells.values(groups) { $0.falses })),
        ]
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        let values = input.columns[0].boolValues
        func ones(_ wanted: Bool) -> Column {
            Column(
                .int64,
                .int64(
                    Values(count: input.count) { target in
                        for i in 0..<target.count {
                            target[i] = (input.selection?[i] ?? true) && values?[i] == wanted ? 1 : 0
                        }
                    }))
        }
        return [ones(true), ones(false)]
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        let isAnd = finish == .and
        return Column(
            .bool,
            .bool(
                Bitmap(count: groups.count) { i in
                    let cell = cells[groups[i]]
                    return isAnd ? cell.falses == 0 : cell.trues > 0
                }), validity: cells.validity(groups) { $0.trues + $0.falses > 0 })
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) { cells.clear(groups) }
}
