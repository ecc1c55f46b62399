public import DataflowColumnar
import Glibc

/// Builds columns from rows that are read one after the other, for formats that lay out values row by row.
///
/// The columns are flattened into *nodes*: a node for each column, each member of a struct and the elements of each
/// list. Nodes with as many values as there are rows are of level 0; the elements of a list, with the members of
/// structs among them, have a level of their own. A reader opens a row with ``append(_:)``, stores values by node and
/// row, ends it with ``endRow(_:_:)``, or takes it back with ``rollback(_:to:)``. Nothing stored is null. Storing is
/// an address and a write; memory behind the last row of a level is zero, so nothing has to be written for nulls.
///
/// Text is referred to where it stands: ``store(text:_:_:inBuffer:offset:)`` names a buffer that ``finish(_:_:)`` is
/// given, so columns keep the messages' memory alive and copy nothing.
// Of a type that is not `@usableFromInline`, `@inlinable` bodies stay in the module: each store would be a generic call.
@usableFromInline
package final class RowAssembler {
    package struct Node {
        package let type: DataType
        package let level: Int
        /// Bytes a value: 0 for structs.
        let width: Int
        /// Of a list: the level of its elements, and their node.
        package let elementLevel: Int
        package let element: Int
        /// Of a struct: the nodes of its members.
        package let members: [Int]
    }

    /// Where a node's values are written; without references, for loops.
    @usableFromInline
    package struct Memory {
        @usableFromInline var values: UnsafeMutableRawPointer
        @usableFromInline var present: UnsafeMutablePointer<UInt8>
        /// Of a list: the level of its elements, else -1.
        @usableFromInline var elementLevel: Int
    }

    @usableFromInline
    package struct Level {
        @usableFromInline var count = 0
        @usableFromInline var capacity = 0
        /// The places in `lists` of the list nodes of this level.
        @usableFromInline var lists = 0..<0
        var nodes: [Int] = []
    }

    /// The node of each column; nil for columns that are not built.
    @usableFromInline
    package let roots: [Int?]
    package private(set) var nodes: [Node] = []
    @usableFromInline package let memory: UnsafeMutablePointer<Memory>
    @usableFromInline package let levels: UnsafeMutablePointer<Level>
    @usableFromInline package let lists: UnsafeMutablePointer<Int>
    private let levelCount: Int

    /// - Parameter types: of the columns; nil for a column that is not built.
    package init(_ types: [DataType?]) {
        var builder = Builder()
        roots = types.map { type in type.map { builder.add($0, level: 0) } }
        nodes = builder.nodes
        levelCount = builder.levelCount
        memory = .allocate(capacity: max(1, nodes.count))
        levels = .allocate(capacity: levelCount)
        lists = .allocate(capacity: max(1, nodes.count))
        for (number, node) in nodes.enumerated() {
            (memory + number).initialize(
                to: Memory(
                    values: RowAssembler.zeroed(0), present: RowAssembler.zeroed(0).assumingMemoryBound(to: UInt8.self),
                    elementLevel: node.elementLevel))
        }
        var place = 0
        for number in 0..<levelCount {
            var level = Level()
            level.nodes = nodes.indices.filter { nodes[$0].level == number }
            let start = place
            for node in level.nodes where nodes[node].elementLevel >= 0 {
                lists[place] = node
                place += 1
            }
            level.lists = start..<place
            (levels + number).initialize(to: level)
        }
        for number in 0..<levelCount { grow(number, to: 16) }
    }

    deinit {
        for node in nodes.indices {
            memory[node].values.deallocate()
            UnsafeMutableRawPointer(memory[node].present).deallocate()
        }
        memory.deallocate()
        levels.deinitialize(count: levelCount)
        levels.deallocate()
        lists.deallocate()
    }

    private struct Builder {
        var nodes: [Node] = []
        var levelCount = 1

        mutating func add(_ type: DataType, level: Int) -> Int {
            switch type {
            case .list(let inner):
                let below = levelCount
                levelCount += 1
                let element = add(inner, level: below)
                return append(type, level, 4, elementLevel: below, element: element)
            case .structure(let fields):
                let members = fields.map { add($0.type, level: level) }
                return append(type, level, 0, members: members)
            case .bool: return append(type, level, 1)
            case .int32, .date, .float32: return append(type, level, 4)
            case .int64, .timestamp, .float64: return append(type, level, 8)
            case .decimal, .string, .bytes: return append(type, level, 16)
            }
        }

        private mutating func append(
            _ type: DataType, _ level: Int, _ width: Int, elementLevel: Int = -1, element: Int = -1,
            members: [Int] = []
        ) -> Int {
            nodes.append(
                Node(
                    type: type, level: level, width: width, elementLevel: elementLevel, element: element,
                    members: members))
            return nodes.count - 1
        }
    }

    // MARK: - Writing

    private static func zeroed(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount + Buffer.padding, alignment: 64)
        memset(memory, 0, byteCount + Buffer.padding)
        return memory
    }

    /// Makes room for `count` more rows. O(rows so far) where it does not fit.
    @usableFromInline
    package func reserve(_ count: Int) {
        let needed = levels[0].count + count
        if needed > levels[0].capacity { grow(0, to: needed) }
    }

    @usableFromInline
    func grow(_ level: Int, to capacity: Int) {
        let count = levels[level].count
        for number in levels[level].nodes {
            let width = nodes[number].width
            // A list has one offset more than it has rows.
            let extra = nodes[number].elementLevel >= 0 ? 1 : 0
            let values = RowAssembler.zeroed((capacity + extra) * width)
            memcpy(values, memory[number].values, levels[level].capacity == 0 ? 0 : (count + extra) * width)
            memory[number].values.deallocate()
            memory[number].values = values
            let present = RowAssembler.zeroed(capacity)
            memcpy(present, memory[number].present, count)
            UnsafeMutableRawPointer(memory[number].present).deallocate()
            memory[number].present = present.assumingMemoryBound(to: UInt8.self)
        }
        levels[level].capacity = capacity
    }

    /// How many rows or elements a level has. O(1).
    @inlinable package func count(_ level: Int) -> Int { levels[level].count }

    /// Opens a row, or an element of a list; answers its number. Amortised O(nodes of the level).
    @inlinable
    package func append(_ level: Int) -> Int {
        let count = levels[level].count
        if count == levels[level].capacity { grow(level, to: count * 2) }
        levels[level].count = count &+ 1
        return count
    }

    /// Ends a row or element: its lists have the elements that were appended since the one before. O(lists).
    @inlinable
    package func endRow(_ level: Int, _ row: Int) {
        for place in levels[level].lists {
            let list = memory[lists[place]]
            list.values.assumingMemoryBound(to: Int32.self)[row &+ 1] =
                Int32(truncatingIfNeeded: levels[list.elementLevel].count)
        }
    }

    /// Stores a value whose width is the node's.
    @inlinable
    package func store<T: BitwiseCopyable>(_ value: T, _ node: Int, _ row: Int) {
        memory[node].values.assumingMemoryBound(to: T.self)[row] = value
        memory[node].present[row] = 1
    }

    /// The row's value is there: a struct, a list, or the zero that stands where nothing was stored.
    @inlinable
    package func mark(_ node: Int, _ row: Int) { memory[node].present[row] = 1 }

    /// Whether something was stored.
    @inlinable
    package func isPresent(_ node: Int, _ row: Int) -> Bool { memory[node].present[row] != 0 }

    /// Stores text that stands at `offset` of the buffer with that number.
    @inlinable
    package func store(text: UnsafeRawBufferPointer, _ node: Int, _ row: Int, inBuffer buffer: Int32, offset: Int) {
        store(StringView(text, buffer: buffer, offset: offset), node, row)
    }

    /// Takes back the rows or elements from number `count` on, with all below them. O(what is taken back).
    @usableFromInline
    package func rollback(_ level: Int, to count: Int) {
        let before = levels[level].count
        guard count < before else { return }
        for number in levels[level].nodes {
            let node = nodes[number]
            memset(memory[number].present + count, 0, before - count)
            if node.elementLevel >= 0 {
                let ends = memory[number].values.assumingMemoryBound(to: Int32.self)
                rollback(node.elementLevel, to: Int(ends[count]))
                memset(ends + count + 1, 0, (before - count) * 4)
            } else {
                memset(memory[number].values + count * node.width, 0, (before - count) * node.width)
            }
        }
        levels[level].count = count
    }

    /// Makes the value of the newest row or element of its level null again, with all below it.
    package func clear(_ number: Int, _ row: Int) {
        let node = nodes[number]
        memory[number].present[row] = 0
        if node.elementLevel >= 0 {
            rollback(node.elementLevel, to: Int(memory[number].values.assumingMemoryBound(to: Int32.self)[row]))
        } else if node.width > 0 {
            memset(memory[number].values + row * node.width, 0, node.width)
        }
        for member in node.members { clear(member, row) }
    }

    // MARK: - Columns

    /// The columns of the rows so far; begins anew.
    ///
    /// - Parameter buffers: what the numbers of stored texts mean.
    @usableFromInline
    package func finish(_ buffers: [Buffer]) -> [Column?] {
        let counts = (0..<levelCount).map { levels[$0].count }
        let columns = roots.map { root in root.map { column($0, buffers) } }
        for level in 0..<levelCount {
            levels[level].count = 0
            levels[level].capacity = 0
            grow(level, to: max(16, counts[level]))
        }
        return columns
    }

    private func column(_ number: Int, _ buffers: [Buffer]) -> Column {
        let node = nodes[number]
        let count = levels[node.level].count
        let validity = bits(memory[number].present, count, isValidity: true)
        switch node.type {
        case .bool:
            let values = memory[number].values.assumingMemoryBound(to: UInt8.self)
            let bits = bits(values, count, isValidity: false) ?? Bitmap(repeating: false, count: count)
            return Column(node.type, .bool(bits), validity: validity)
        case .int32, .date: return Column(node.type, .int32(take(number, count)), validity: validity)
        case .int64, .timestamp: return Column(node.type, .int64(take(number, count)), validity: validity)
        case .float32: return Column(node.type, .float32(take(number, count)), validity: validity)
        case .float64: return Column(node.type, .float64(take(number, count)), validity: validity)
        case .decimal: return Column(node.type, .decimal(take(number, count)), validity: validity)
        case .string, .bytes:
            return Column(
                node.type, views: ViewStorage(views: take(number, count), buffers: buffers), validity: validity)
        case .list:
            return Column(
                node.type, .list(offsets: take(number, count + 1), elements: column(node.element, buffers)),
                validity: validity)
        case .structure:
            return Column(
                node.type, .structure(node.members.map { column($0, buffers) }), validity: validity, count: count)
        }
    }

    /// The node's memory as values; fresh memory takes its place.
    private func take<T: BitwiseCopyable & Sendable>(_ number: Int, _ count: Int) -> Values<T> {
        let buffer = Buffer(adopting: memory[number].values, byteCount: count * MemoryLayout<T>.stride)
        memory[number].values = RowAssembler.zeroed(0)
        return Values(buffer: buffer, count: count)
    }

    /// Bytes 0 and 1 as bits; nil where a validity has no zero.
    private func bits(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, isValidity: Bool) -> Bitmap? {
        if isValidity, memchr(bytes, 0, count) == nil { return nil }
        let source = UnsafeRawPointer(bytes)
        let words = Values<UInt64>(count: (count + 63) / 64) { words in
            for w in 0..<words.count {
                var word: UInt64 = 0
                let groups = min(8, (count - w * 64 + 7) / 8)
                for group in 0..<groups {
                    // Eight bytes 0 or 1 to eight bits: the product gathers them in its top byte. Behind the end are
                    // zeros.
                    let eight = source.loadUnaligned(fromByteOffset: w * 64 + group * 8, as: UInt64.self)
                    word |= (((eight & 0x0101_0101_0101_0101) &* 0x0102_0408_1020_4080) >> 56) << UInt64(group * 8)
                }
                words[w] = word
            }
        }
        return Bitmap(words: words, count: count)
    }
}
