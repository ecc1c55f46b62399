/// How rows of some types stand in memory as 64-bit words: a hash, null bits, then one slot a column.
///
/// Word 0 is the row's hash. Then come the null words: bit 0 of the first says that the row is in use, bit c + 1 that
/// column c is null. A slot has one word (numbers, bool, date, timestamp) or two (decimal; text as the 16 bytes of a
/// ``StringView``, whose second word names the place of long text; lists and structs as text of ``RowKeys``' bytes).
/// Unused bits are zero, so rows with short text are equal exactly when their words are.
struct RowLayout: Sendable {
    enum Kind: Sendable {
        case bool, int32, int64, float32, float64, decimal
        /// Text that stands as it is.
        case view
        /// A list or struct, encoded by ``RowKeys``; null has an encoding too.
        case encoded
    }

    struct Slot: Sendable {
        var kind: Kind
        var type: DataType
        /// First word of the slot in the row.
        var word: Int
    }

    let types: [DataType]
    let slots: [Slot]
    let nullWords: Int
    /// Words a row.
    let width: Int
    /// True when some slot may hold long text.
    let hasViews: Bool

    init(_ types: [DataType]) {
        self.types = types
        nullWords = (types.count + 1 + 63) / 64
        var next = 1 + nullWords
        slots = types.map { type in
            let kind: Kind
            switch type {
            case .bool: kind = .bool
            case .int32, .date: kind = .int32
            case .int64, .timestamp: kind = .int64
            case .float32: kind = .float32
            case .float64: kind = .float64
            case .decimal: kind = .decimal
            case .string, .bytes: kind = .view
            case .list, .structure: kind = .encoded
            }
            defer {
                switch kind {
                case .decimal, .view, .encoded: next += 2
                case .bool, .int32, .int64, .float32, .float64: next += 1
                }
            }
            return Slot(kind: kind, type: type, word: next)
        }
        width = next
        hasViews = slots.contains { $0.kind == .view || $0.kind == .encoded }
    }

    /// Whether column `column` of the row at `row` is null.
    @inline(__always)
    static func isNull(_ row: UnsafePointer<UInt64>, _ column: Int) -> Bool {
        row[1 + (column + 1) >> 6] >> UInt64((column + 1) & 63) & 1 != 0
    }
}

/// Rows of a batch in the words of a ``RowLayout``: memory that is filled again and again.
///
/// Long text is named by its address; the columns are held so that it stays valid until the next ``fill``.
public final class RowBlock {
    /// Rows that fit.
    public static let capacity = 1024

    let layout: RowLayout
    let words: UnsafeMutablePointer<UInt64>
    /// Rows of the last fill.
    public private(set) var count = 0
    /// True when some text of the last fill is longer than a view holds.
    private(set) var hasLongText = false
    private var held: [Column] = []
    private var heldKeys: [RowKeys] = []
    private let canonical: Bool

    /// - Parameter canonical: one zero and one NaN, so that equal keys have equal words.
    init(_ layout: RowLayout, canonical: Bool) {
        self.layout = layout
        self.canonical = canonical
        words = .allocate(capacity: layout.width * RowBlock.capacity)
        words.initialize(repeating: 0, count: layout.width * RowBlock.capacity)
    }

    deinit { words.deallocate() }

    @inline(__always)
    func row(_ index: Int) -> UnsafeMutablePointer<UInt64> { words + index * layout.width }

    /// Encodes the rows of `range` (at most ``capacity``). Missing `hashes` are zero. O(rows × columns).
    func fill(_ columns: [Column], _ range: Range<Int>, hashes: UnsafePointer<UInt64>?) {
        precondition(
            range.count <= RowBlock.capacity && columns.count == layout.types.count, "rows do not fit the block")
        count = range.count
        hasLongText = false
        held = layout.hasViews ? columns : []
        heldKeys.removeAll(keepingCapacity: true)
        let width = layout.width
        let start = range.lowerBound
        if let hashes {
            for i in 0..<count { words[i * width] = hashes[start + i] }
        } else {
            for i in 0..<count { words[i * width] = 0 }
        }
        for i in 0..<count { words[i * width + 1] = 1 }
        for extra in 1..<max(1, layout.nullWords) {
            for i in 0..<count { words[i * width + 1 + extra] = 0 }
        }
        for (index, column) in columns.enumerated() { fill(column, index, range) }
    }

    private func fill(_ column: Column, _ index: Int, _ range: Range<Int>) {
        let slot = layout.slots[index]
        let width = layout.width
        let start = range.lowerBound
        let count = count
        let target = words + slot.word
        switch column.storage {
        case .bool(let values): for i in 0..<count { target[i * width] = values[start + i] ? 1 : 0 }
        case .int32(let values):
            values.withUnsafeBufferPointer { values in
                for i in 0..<count { target[i * width] = UInt64(UInt32(bitPattern: values[start + i])) }
            }
        case .int64(let values):
            values.withUnsafeBufferPointer { values in
                for i in 0..<count { target[i * width] = UInt64(bitPattern: values[start + i]) }
            }
        case .float32(let values):
            values.withUnsafeBufferPointer { values in
                for i in 0..<count {
                    let value = values[start + i]
                    let plain = !canonical || (value != 0 && !value.isNaN)
                    target[i * width] = UInt64(plain ? value.bitPattern : value == 0 ? 0 : Float.nan.bitPattern)
                }
            }
        case .float64(let values):
            values.withUnsafeBufferPointer { values in
                for i in 0..<count {
                    let value = values[start + i]
                    target[i * width] = canonical ? RowHash.canonicalBits(value) : value.bitPattern
                }
            }
        case .decimal(let values):
            values.withUnsafeBufferPointer { values in
                for i in 0..<count {
                    let bits = UInt128(bitPattern: values[start + i])
                    target[i * width] = UInt64(truncatingIfNeeded: bits)
                    target[i * width + 1] = UInt64(truncatingIfNeeded: bits >> 64)
                }
            }
        case .view(let values): fill(values, target, start)
        case .list, .structure:
            let keys = RowKeys([column.slice(range)], count: count)
            heldKeys.append(keys)
            for i in 0..<count {
                keys.withKey(i) { bytes in set(StringView(bytes, buffer: 0, offset: 0), bytes, target + i * width) }
            }
        }
        guard let validity = column.validity else { return }
        let nullWord = words + 1 + (index + 1) >> 6
        let bit = UInt64(1) << UInt64((index + 1) & 63)
        let isWide = slot.kind == .decimal || slot.kind == .view
        for i in 0..<count where !validity[start + i] {
            nullWord[i * width] |= bit
            if slot.kind == .encoded { continue }
            target[i * width] = 0
            if isWide { target[i * width + 1] = 0 }
        }
    }

    private func fill(_ values: ViewStorage, _ target: UnsafeMutablePointer<UInt64>, _ start: Int) {
        let width = layout.width
        let count = count
        values.withUnsafeViews { views in
            for i in 0..<count {
                let view = views[start + i]
                target[i * width] = UInt64(UInt32(bitPattern: view.length)) | UInt64(view.word1) << 32
                if view.isInline {
                    target[i * width + 1] = UInt64(view.word2) | UInt64(view.word3) << 32
                } else {
                    hasLongText = true
                    let address = UInt(bitPattern: views.bytes(start + i).baseAddress)
                    target[i * width + 1] = UInt64(truncatingIfNeeded: address)
                }
            }
        }
    }

    private func set(_ view: StringView, _ bytes: UnsafeRawBufferPointer, _ target: UnsafeMutablePointer<UInt64>) {
        target[0] = UInt64(UInt32(bitPattern: view.length)) | UInt64(view.word1) << 32
        if view.isInline {
            target[1] = UInt64(view.word2) | UInt64(view.word3) << 32
        } else {
            hasLongText = true
            target[1] = UInt64(UInt(bitPattern: bytes.baseAddress))
        }
    }
}
