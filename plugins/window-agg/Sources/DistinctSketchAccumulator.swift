import DataflowOperator

/// `approx_count_distinct`: a ``DistinctSketch`` a group.
///
/// Memory a group: a hash table of 32 bytes that doubles up to 16 KiB, then 16,384 registers of a byte. State: the sorted
/// entries as differences (two to four bytes a value), or the registers packed in 12 KiB.
final class DistinctSketchAccumulator: SketchAccumulator {
    private struct Cell {
        /// A table of entries (zero: free), or registers.
        var memory: UnsafeMutableRawPointer?
        /// Places of the table: a power of two; zero for none, -1 for registers.
        var places: Int32 = 0
        /// Entries in the table.
        var count: Int32 = 0
    }
    private var cells = Cells(Cell())
    private var bound = 0
    private(set) var byteCount = 0
    var bytesPerGroup: Int { MemoryLayout<Cell>.stride }
    /// Whether a partial state could not be read, and was left out.
    private(set) var isDamaged = false
    private var scratch: [UInt32] = []

    private static let maxPlaces: Int32 = 4 << 10
    /// The name of the state's column behind the accumulator's number.
    static let stateSuffix = "registers"

    deinit { for id in 0..<bound { cells.base[id].memory?.deallocate() } }

    func grow(to bound: Int) {
        self.bound = max(self.bound, bound)
        cells.grow(to: bound)
    }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        let base = cells.base
        RowHash.hashes(input.columns, count: input.count).withUnsafeBufferPointer { hashes in
            eachRow(input.selection, input.count) { i in
                let hash = DistinctSketch.spread(hashes[i])
                let cell = base + Int(groups[i])
                if cell.pointee.places < 0 {
                    raise(cell, DistinctSketch.register(hash))
                } else {
                    insert(DistinctSketch.entry(hash), cell)
                }
            }
        }
    }

    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        preconditionFailure("a sketch of distinct values cannot take one back")
    }

    @inline(__always)
    private func raise(_ cell: UnsafeMutablePointer<Cell>, _ register: (index: Int, run: UInt8)) {
        guard let registers = cell.pointee.memory?.assumingMemoryBound(to: UInt8.self) else { return }
        if register.run > registers[register.index] { registers[register.index] = register.run }
    }

    @inline(__always)
    private func add(_ entry: UInt32, _ cell: UnsafeMutablePointer<Cell>) {
        if cell.pointee.places < 0 {
            raise(cell, DistinctSketch.register(ofEntry: entry))
        } else {
            insert(entry, cell)
        }
    }

    private func insert(_ entry: UInt32, _ cell: UnsafeMutablePointer<Cell>) {
        if put(entry, cell) { return }
        makeRoom(cell)
        add(entry, cell)
    }

    /// Puts an entry into the table; false when there is no room for it.
    @inline(__always)
    private func put(_ entry: UInt32, _ cell: UnsafeMutablePointer<Cell>) -> Bool {
        guard let table = cell.pointee.memory?.assumingMemoryBound(to: UInt32.self) else { return false }
        let mask = Int(cell.pointee.places) - 1
        var place = Int(((entry >> 6) &* 0x9E37_79B1) >> 20) & mask
        while table[place] != 0 {
            if table[place] >> 6 == entry >> 6 {
                if entry > table[place] { table[place] = entry }
                return true
            }
            place = (place + 1) & mask
        }
        guard (cell.pointee.count + 1) * 4 <= cell.pointee.places * 3 else { return false }
        table[place] = entry
        cell.pointee.count += 1
        return true
    }

    /// Doubles the table, or goes over to registers.
    private func makeRoom(_ cell: UnsafeMutablePointer<Cell>) {
        guard cell.pointee.places < Self.maxPlaces else { return makeDense(cell) }
        let old = cell.pointee
        let places = max(8, old.places * 2)
        let table = UnsafeMutablePointer<UInt32>.allocate(capacity: Int(places))
        table.initialize(repeating: 0, count: Int(places))
        byteCount += Int(places - old.places) * 4
        cell.pointee = Cell(memory: UnsafeMutableRawPointer(table), places: places)
        eachEntry(old) { _ = put($0, cell) }
        old.memory?.deallocate()
    }

    private func makeDense(_ cell: UnsafeMutablePointer<Cell>) {
        let old = cell.pointee
        let registers = UnsafeMutablePointer<UInt8>.allocate(capacity: DistinctSketch.registerCount)
        registers.initialize(repeating: 0, count: DistinctSketch.registerCount)
        byteCount += DistinctSketch.registerCount - Int(max(0, old.places)) * 4
        cell.pointee = Cell(memory: UnsafeMutableRawPointer(registers), places: -1)
        eachEntry(old) { raise(cell, DistinctSketch.register(ofEntry: $0)) }
        old.memory?.deallocate()
    }

    private func eachEntry(_ cell: Cell, _ body: (UInt32) -> Void) {
        guard cell.places > 0, let table = cell.memory?.assumingMemoryBound(to: UInt32.self) else { return }
        for place in 0..<Int(cell.places) where table[place] != 0 { body(table[place]) }
    }

    // MARK: State: a byte that tells version and form, then the form's bytes

    private enum Form {
        static let single: UInt8 = 0x11
        static let sparse: UInt8 = 0x12
        static let dense: UInt8 = 0x13
        static let denseByteCount = DistinctSketch.registerCount * 6 / 8
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        var builder = ViewBuilder(capacity: groups.count)
        var writer = SketchWriter()
        for group in groups {
            let cell = cells[group]
            guard cell.memory != nil else {
                builder.appendNull()
                continue
            }
            writer.removeAll()
            write(cell, &writer)
            writer.bytes.withUnsafeBytes { builder.append($0) }
        }
        return [builder.finish(.bytes)]
    }

    private func write(_ cell: Cell, _ writer: inout SketchWriter) {
        guard cell.places < 0, let registers = cell.memory?.assumingMemoryBound(to: UInt8.self) else {
            scratch.removeAll(keepingCapacity: true)
            eachEntry(cell) { scratch.append($0) }
            scratch.sort()
            writer.append(Form.sparse)
            writer.append(number: UInt64(scratch.count))
            var last: UInt32 = 0
            for entry in scratch {
                writer.append(number: UInt64(entry - last))
                last = entry
            }
            return
        }
        writer.append(Form.dense)
        for i in stride(from: 0, to: DistinctSketch.registerCount, by: 4) {
            let bits =
                UInt32(registers[i]) | UInt32(registers[i + 1]) << 6 | UInt32(registers[i + 2]) << 12
                | UInt32(registers[i + 3]) << 18
            for byte in 0..<3 { writer.append(UInt8(truncatingIfNeeded: bits >> UInt32(byte * 8))) }
        }
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        var builder = ViewBuilder(capacity: input.count)
        let hashes = RowHash.hashes(input.columns, count: input.count)
        withUnsafeTemporaryAllocation(byteCount: 5, alignment: 1) { bytes in
            for row in 0..<input.count {
                guard input.selection?[row] ?? true else {
                    builder.appendNull()
                    continue
                }
                bytes[0] = Form.single
                let entry = DistinctSketch.entry(DistinctSketch.spread(hashes[row]))
                bytes.storeBytes(of: entry.littleEndian, toByteOffset: 1, as: UInt32.self)
                builder.append(UnsafeRawBufferPointer(bytes))
            }
        }
        return [builder.finish(.bytes)]
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        guard let views = state[0].viewValues else { return }
        views.withUnsafeViews { views in
            for i in 0..<groups.count where !state[0].isNull(i) {
                if !merge(views.bytes(i), cells.base + Int(groups[i])) { isDamaged = true }
            }
        }
    }

    /// False, and nothing merged, when the bytes are not a state.
    private func merge(_ bytes: UnsafeRawBufferPointer, _ cell: UnsafeMutablePointer<Cell>) -> Bool {
        var reader = SketchReader(bytes)
        switch reader.byte() {
        case Form.single:
            guard bytes.count == 5 else { return false }
            let entry = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self))
            guard DistinctSketch.isEntry(UInt64(entry)) else { return false }
            add(entry, cell)
        case Form.sparse:
            guard let count = reader.number(), count <= UInt64(DistinctSketch.maxSparse) else { return false }
            scratch.removeAll(keepingCapacity: true)
            var last: UInt64 = 0
            for _ in 0..<count {
                guard let step = reader.number(), step < 1 << 31, DistinctSketch.isEntry(last + step) else {
                    return false
                }
                last += step
                scratch.append(UInt32(truncatingIfNeeded: last))
            }
            guard reader.isAtEnd else { return false }
            for entry in scratch { add(entry, cell) }
        case Form.dense:
            guard let packed = reader.take(Form.denseByteCount), reader.isAtEnd else { return false }
            if cell.pointee.places >= 0 { makeDense(cell) }
            for i in 0..<DistinctSketch.registerCount / 4 {
                let bits =
                    UInt32(packed[i * 3]) | UInt32(packed[i * 3 + 1]) << 8 | UInt32(packed[i * 3 + 2]) << 16
                for r in 0..<4 {
                    let run = UInt8(truncatingIfNeeded: bits >> UInt32(r * 6) & 0x3F)
                    raise(cell, (i * 4 + r, min(run, DistinctSketch.maxRun)))
                }
            }
        default: return false
        }
        return true
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        Column(
            .int64,
            .int64(
                cells.values(groups) { cell in
                    guard cell.places < 0, let memory = cell.memory else {
                        return DistinctSketch.estimate(sparse: Int(cell.count))
                    }
                    return DistinctSketch.estimate(
                        UnsafeBufferPointer(
                            start: memory.assumingMemoryBound(to: UInt8.self), count: DistinctSketch.registerCount))
                }))
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) {
        for group in groups {
            let cell = cells[group]
            guard let memory = cell.memory else { continue }
            byteCount -= cell.places < 0 ? DistinctSketch.registerCount : Int(cell.places) * 4
            memory.deallocate()
            cells[group] = Cell()
        }
    }
}
