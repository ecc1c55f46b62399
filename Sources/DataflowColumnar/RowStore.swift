import Glibc

/// Keeps rows by number: put in, replaced and removed one at a time, compared in place, read back as columns.
///
/// For operators that hold rows between batches. A row takes 8 bytes for a hash, 8 for null bits, and 8 (numbers, bool,
/// date, timestamp) or 16 (decimal, text, list, struct) a column; text longer than 12 bytes its bytes besides. Numbers
/// of removed rows are given out again. Columns read back share long text by reference and stay valid for ever.
public final class RowStore {
    let layout: RowLayout
    private(set) var words: UnsafeMutablePointer<UInt64>
    private var capacity: Int
    private var free: [Int32] = []
    private var arena = TextArena()
    private var liveTextByteCount = 0
    /// Base addresses of the arena's chunks, for loops.
    private(set) var bases: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var baseCapacity = 8
    /// Numbers given out so far: all are below this.
    public private(set) var upperBound = 0
    /// Rows in use.
    public private(set) var count = 0
    private let canonical: Bool
    private var spareBlock: RowBlock?

    /// An empty store of rows of these types.
    public convenience init(_ types: [DataType]) { self.init(types, canonical: false) }

    init(_ types: [DataType], canonical: Bool) {
        layout = RowLayout(types)
        self.canonical = canonical
        capacity = 16
        words = RowStore.allocate(capacity * layout.width)
        bases = .allocate(capacity: baseCapacity)
    }

    deinit {
        Glibc.free(words)
        bases.deallocate()
    }

    private static func allocate(_ words: Int) -> UnsafeMutablePointer<UInt64> {
        guard let memory = malloc(words * 8) else { preconditionFailure("out of memory: \(words * 8) bytes for rows") }
        return memory.bindMemory(to: UInt64.self, capacity: words)
    }

    /// The columns' types.
    public var types: [DataType] { layout.types }

    /// Bytes in use, long text included.
    public var byteCount: Int { upperBound * layout.width * 8 + arena.appendedByteCount }

    /// Scratch memory for rows to be put in.
    public func makeBlock() -> RowBlock { RowBlock(layout, canonical: canonical) }

    @inline(__always)
    func row(_ id: Int32) -> UnsafeMutablePointer<UInt64> { words + Int(id) * layout.width }

    /// Whether the number names a row. O(1).
    public func contains(_ id: Int32) -> Bool { id >= 0 && Int(id) < upperBound && row(id)[1] & 1 != 0 }

    /// The hash that was given with the row. O(1).
    public func hash(_ id: Int32) -> UInt64 { row(id)[0] }

    // MARK: Putting in and removing

    /// Fills a block with rows of a batch; `hashes` are kept with the rows (zero where nil).
    public func fill(_ block: RowBlock, _ columns: [Column], _ range: Range<Int>, hashes: Values<UInt64>? = nil) {
        if let hashes {
            hashes.withUnsafeBufferPointer { block.fill(columns, range, hashes: $0.baseAddress) }
        } else {
            block.fill(columns, range, hashes: nil)
        }
    }

    /// Puts rows in and answers their numbers. O(rows × columns).
    public func insert(_ columns: [Column], count: Int, hashes: Values<UInt64>? = nil) -> [Int32] {
        let block = takeBlock()
        var ids: [Int32] = []
        ids.reserveCapacity(count)
        var start = 0
        while start < count {
            let end = min(count, start + RowBlock.capacity)
            fill(block, columns, start..<end, hashes: hashes)
            for i in 0..<end - start { ids.append(insert(block, i)) }
            start = end
        }
        spareBlock = block
        return ids
    }

    private func takeBlock() -> RowBlock {
        defer { spareBlock = nil }
        return spareBlock ?? makeBlock()
    }

    /// Puts row `index` of a block in. Amortised O(columns + long text).
    public func insert(_ block: RowBlock, _ index: Int) -> Int32 { insert(UnsafePointer(block.row(index))) }

    @inline(__always)
    func insert(_ source: UnsafePointer<UInt64>) -> Int32 {
        let id: Int32
        if let last = free.popLast() {
            id = last
        } else {
            if upperBound == capacity { grow(to: capacity * 2) }
            id = Int32(truncatingIfNeeded: upperBound)
            upperBound += 1
        }
        count += 1
        write(source, id)
        return id
    }

    /// Puts row `index` of a block in the place of row `id`, or at the unused number `id`. Numbers between are unused.
    ///
    /// For stores whose numbers are given out by a ``GroupTable``: do not mix with ``insert(_:_:)``.
    public func replace(_ id: Int32, _ block: RowBlock, _ index: Int) {
        extend(to: Int(id) + 1)
        if row(id)[1] & 1 != 0 { releaseText(id) } else { count += 1 }
        write(UnsafePointer(block.row(index)), id)
        collectGarbage()
    }

    /// Makes all numbers below `newBound` readable: those without a row read as nulls. Amortised O(new numbers).
    public func extend(to newBound: Int) {
        guard newBound > upperBound else { return }
        if newBound > capacity { grow(to: max(capacity * 2, newBound)) }
        for unused in upperBound..<newBound { vacate(words + unused * layout.width) }
        upperBound = newBound
    }

    /// What stands where no row is: nulls without the mark of a row.
    private func vacate(_ row: UnsafeMutablePointer<UInt64>) {
        row.update(repeating: 0, count: layout.width)
        for word in 1...layout.nullWords { row[word] = .max }
        row[1] = ~1
    }

    /// Takes a row out of a store whose numbers are given out elsewhere (see ``replace(_:_:_:)``). O(columns).
    public func clear(_ id: Int32) {
        guard contains(id) else { return }
        releaseText(id)
        vacate(row(id))
        count -= 1
        collectGarbage()
    }

    /// Takes a row out; its number will be given out again. O(columns).
    public func remove(_ id: Int32) {
        precondition(contains(id), "row \(id) is not in the store")
        clear(id)
        free.append(id)
    }

    /// Takes all rows out and lets their memory go.
    public func removeAll() {
        free = []
        arena.removeAll()
        liveTextByteCount = 0
        upperBound = 0
        count = 0
        if capacity > 4096 {
            Glibc.free(words)
            capacity = 16
            words = RowStore.allocate(capacity * layout.width)
        }
    }

    private func grow(to newCapacity: Int) {
        precondition(newCapacity <= Int(Int32.max), "a store holds at most \(Int32.max) rows")
        capacity = newCapacity
        guard let memory = realloc(words, capacity * layout.width * 8) else {
            preconditionFailure("out of memory: \(capacity * layout.width * 8) bytes for rows")
        }
        words = memory.bindMemory(to: UInt64.self, capacity: capacity * layout.width)
    }

    private func write(_ source: UnsafePointer<UInt64>, _ id: Int32) {
        let target = row(id)
        target.update(from: source, count: layout.width)
        guard layout.hasViews else { return }
        for slot in layout.slots where slot.kind == .view || slot.kind == .encoded {
            let length = Int(UInt32(truncatingIfNeeded: source[slot.word]))
            guard length > 12 else { continue }
            let address = UnsafeRawPointer(bitPattern: UInt(source[slot.word + 1]))
            target[slot.word + 1] = keepText(UnsafeRawBufferPointer(start: address, count: length))
            liveTextByteCount += length
        }
    }

    private func keepText(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let place = arena.append(bytes)
        if place.chunk >= baseCapacity {
            let larger = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: baseCapacity * 2)
            larger.update(from: bases, count: baseCapacity)
            bases.deallocate()
            bases = larger
            baseCapacity *= 2
        }
        bases[place.chunk] = arena.chunks[place.chunk].base
        return place.word
    }

    private func releaseText(_ id: Int32) {
        guard layout.hasViews else { return }
        let row = row(id)
        for slot in layout.slots where slot.kind == .view || slot.kind == .encoded {
            let length = Int(UInt32(truncatingIfNeeded: row[slot.word]))
            if length > 12 { liveTextByteCount -= length }
        }
    }

    /// Copies the text that is in use to new chunks when most of it is not. Amortised O(1) a removed byte.
    private func collectGarbage() {
        let garbage = arena.appendedByteCount - liveTextByteCount
        guard garbage > max(1 << 20, liveTextByteCount) else { return }
        let old = arena
        arena = TextArena()
        for id in 0..<upperBound {
            let row = words + id * layout.width
            guard row[1] & 1 != 0 else { continue }
            for slot in layout.slots where slot.kind == .view || slot.kind == .encoded {
                let length = Int(UInt32(truncatingIfNeeded: row[slot.word]))
                guard length > 12 else { continue }
                let chunk = Int(UInt32(truncatingIfNeeded: row[slot.word + 1]))
                let bytes = UnsafeRawBufferPointer(
                    start: old.chunks[chunk].base + Int(row[slot.word + 1] >> 32), count: length)
                row[slot.word + 1] = keepText(bytes)
            }
        }
    }

    // MARK: Comparing

    /// Orders two rows of the store: negative, zero, positive. O(terms).
    public func compare(_ left: Int32, _ right: Int32, _ terms: [RowOrdering.Term]) -> Int {
        compare(UnsafePointer(row(left)), isKept: true, UnsafePointer(row(right)), terms)
    }

    /// Orders row `index` of a block before or behind a row of the store. O(terms).
    public func compare(_ block: RowBlock, _ index: Int, _ right: Int32, _ terms: [RowOrdering.Term]) -> Int {
        compare(UnsafePointer(block.row(index)), isKept: false, UnsafePointer(row(right)), terms)
    }

    private func compare(
        _ left: UnsafePointer<UInt64>, isKept: Bool, _ right: UnsafePointer<UInt64>, _ terms: [RowOrdering.Term]
    ) -> Int {
        for term in terms {
            switch (RowLayout.isNull(left, term.column), RowLayout.isNull(right, term.column)) {
            case (true, true): continue
            case (true, false): return term.nullsFirst ? -1 : 1
            case (false, true): return term.nullsFirst ? 1 : -1
            case (false, false): break
            }
            let order = compareValues(left, isKept, right, layout.slots[term.column])
            if order != 0 { return term.descending ? -order : order }
        }
        return 0
    }

    private func compareValues(
        _ left: UnsafePointer<UInt64>, _ isKept: Bool, _ right: UnsafePointer<UInt64>, _ slot: RowLayout.Slot
    ) -> Int {
        func order<T: Comparable>(_ a: T, _ b: T) -> Int { a < b ? -1 : a == b ? 0 : 1 }
        func orderFloat(_ a: Double, _ b: Double) -> Int {
            if a < b { return -1 }
            if a > b { return 1 }
            return (a.isNaN ? 1 : 0) - (b.isNaN ? 1 : 0)
        }
        let a = left[slot.word]
        let b = right[slot.word]
        switch slot.kind {
        case .bool: return order(a, b)
        case .int32: return order(Int32(truncatingIfNeeded: a), Int32(truncatingIfNeeded: b))
        case .int64: return order(Int64(bitPattern: a), Int64(bitPattern: b))
        case .float32:
            return orderFloat(
                Double(Float(bitPattern: UInt32(truncatingIfNeeded: a))),
                Double(Float(bitPattern: UInt32(truncatingIfNeeded: b))))
        case .float64: return orderFloat(Double(bitPattern: a), Double(bitPattern: b))
        case .decimal:
            let high = order(Int64(bitPattern: left[slot.word + 1]), Int64(bitPattern: right[slot.word + 1]))
            return high != 0 ? high : order(a, b)
        case .view: return compareBytes(text(left, slot, isKept: isKept), text(right, slot, isKept: true))
        case .encoded:
            let keys = [text(left, slot, isKept: isKept), text(right, slot, isKept: true)]
            let columns = RowKeys.decode([slot.type], keys: keys)
            return columns[0].compareValues(0, columns[0], 1)
        }
    }

    /// The bytes of a text slot; long text of a block is named by address, of the store by chunk and offset.
    @inline(__always)
    func text(_ row: UnsafePointer<UInt64>, _ slot: RowLayout.Slot, isKept: Bool) -> UnsafeRawBufferPointer {
        let length = Int(UInt32(truncatingIfNeeded: row[slot.word]))
        if length <= 12 { return UnsafeRawBufferPointer(start: UnsafeRawPointer(row + slot.word) + 4, count: length) }
        let place = row[slot.word + 1]
        if !isKept { return UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: UInt(place)), count: length) }
        return UnsafeRawBufferPointer(
            start: bases[Int(UInt32(truncatingIfNeeded: place))] + Int(place >> 32), count: length)
    }

    // MARK: Reading back

    /// Whether one value of a row is null. O(1).
    public func isNull(_ id: Int32, column: Int) -> Bool { RowLayout.isNull(UnsafePointer(row(id)), column) }

    /// The rows of these numbers, column by column. O(rows × columns); long text is shared.
    public func columns(_ ids: UnsafeBufferPointer<Int32>) -> [Column] {
        layout.slots.indices.map { column($0, ids) }
    }

    /// The rows of these numbers, column by column.
    public func columns(_ ids: [Int32]) -> [Column] { ids.withUnsafeBufferPointer { columns($0) } }

    /// One column of the rows of these numbers. O(rows); long text is shared.
    public func column(_ index: Int, _ ids: UnsafeBufferPointer<Int32>) -> Column {
        let slot = layout.slots[index]
        let width = layout.width
        let source = words + slot.word
        func values<T: BitwiseCopyable & Sendable>(_ read: (UnsafeMutablePointer<UInt64>) -> T) -> Values<T> {
            Values(count: ids.count) { target in
                for i in 0..<ids.count { target[i] = read(source + Int(ids[i]) * width) }
            }
        }
        let storage: Column.Storage
        switch slot.kind {
        case .bool: storage = .bool(Bitmap(count: ids.count) { source[Int(ids[$0]) * width] != 0 })
        case .int32: storage = .int32(values { Int32(truncatingIfNeeded: $0[0]) })
        case .int64: storage = .int64(values { Int64(bitPattern: $0[0]) })
        case .float32: storage = .float32(values { Float(bitPattern: UInt32(truncatingIfNeeded: $0[0])) })
        case .float64: storage = .float64(values { Double(bitPattern: $0[0]) })
        case .decimal: storage = .decimal(values { Int128(bitPattern: UInt128($0[1]) << 64 | UInt128($0[0])) })
        case .view: storage = .view(views(slot, ids))
        case .encoded:
            let null: [UInt8] = [0]
            return null.withUnsafeBytes { null in
                let keys = ids.map { id in
                    isNull(id, column: index) ? null : text(UnsafePointer(row(id)), slot, isKept: true)
                }
                return RowKeys.decode([slot.type], keys: keys)[0]
            }
        }
        return Column(slot.type, storage, validity: validity(index, ids), count: ids.count)
    }

    /// Views of the text of these rows, and of the arena's chunks only those that they refer to.
    private func views(_ slot: RowLayout.Slot, _ ids: UnsafeBufferPointer<Int32>) -> ViewStorage {
        var anyLong = false
        let views = Values<StringView>(count: ids.count) { target in
            for i in 0..<ids.count {
                let source = words + Int(ids[i]) * layout.width + slot.word
                target[i] = UnsafeRawPointer(source).loadUnaligned(as: StringView.self)
                if !target[i].isInline { anyLong = true }
            }
        }
        guard anyLong else { return ViewStorage(views: views, buffers: []) }
        var numbers = [Int32](repeating: -1, count: arena.chunks.count)
        var buffers: [Buffer] = []
        let renumbered = Values<StringView>(count: views.count) { target in
            views.withUnsafeBufferPointer { views in
                for i in 0..<views.count {
                    target[i] = views[i]
                    if views[i].isInline { continue }
                    let chunk = views[i].bufferIndex
                    if numbers[chunk] < 0 {
                        numbers[chunk] = Int32(truncatingIfNeeded: buffers.count)
                        buffers.append(arena.chunks[chunk])
                    }
                    target[i] = views[i].movingBuffer(by: Int(numbers[chunk]) - chunk)
                }
            }
        }
        return ViewStorage(views: renumbered, buffers: buffers)
    }

    private func validity(_ index: Int, _ ids: UnsafeBufferPointer<Int32>) -> Bitmap? {
        let source = words + 1 + (index + 1) >> 6
        let shift = UInt64((index + 1) & 63)
        let width = layout.width
        var anyNull: UInt64 = 0
        for id in ids { anyNull |= source[Int(id) * width] >> shift & 1 }
        guard anyNull != 0 else { return nil }
        return Bitmap(count: ids.count) { source[Int(ids[$0]) * width] >> shift & 1 == 0 }
    }
}
