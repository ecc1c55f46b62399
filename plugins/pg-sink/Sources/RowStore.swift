/// The encoded rows of a segment: one behind the other in the format of a binary COPY, with where each ends.
///
/// In an upsert table the key stands first in a row, so that two rows have the same key when their first bytes agree.
package final class RowStore {
    let bytes = ByteStore(capacity: 1 << 16)
    /// Row i occupies `ends[i - 1] ..< ends[i]`, the first from 0.
    private(set) var ends: [Int] = []
    /// Where the key of row i ends; empty without a key.
    private(set) var keyEnds: [Int] = []
    /// Whether row i deletes its key; empty without a key.
    private(set) var deletes: [Bool] = []

    package init() {}

    var count: Int { ends.count }
    package var byteCount: Int { bytes.count }

    /// The bytes of one row.
    func range(of row: Int) -> Range<Int> { start(of: row)..<ends[row] }

    /// The bytes of consecutive rows.
    func range(of rows: Range<Int>) -> Range<Int> {
        rows.isEmpty ? 0..<0 : start(of: rows.lowerBound)..<ends[rows.upperBound - 1]
    }

    /// The bytes of a row's key, behind the row's count of fields.
    func keyRange(of row: Int) -> Range<Int> { start(of: row) + 2..<keyEnds[row] }

    func start(of row: Int) -> Int { row == 0 ? 0 : ends[row - 1] }

    func append(end: Int) { ends.append(end) }

    func append(end: Int, keyEnd: Int, delete: Bool) {
        ends.append(end)
        keyEnds.append(keyEnd)
        deletes.append(delete)
    }

    func reserve(_ rows: Int) {
        ends.reserveCapacity(ends.count + rows)
    }

    package func removeAll() {
        bytes.truncate(to: 0)
        ends.removeAll(keepingCapacity: true)
        keyEnds.removeAll(keepingCapacity: true)
        deletes.removeAll(keepingCapacity: true)
    }

    /// Removes the rows for which `keep` is false; the others move together. O(bytes).
    func compact(keeping keep: [Bool]) {
        let memory = bytes.mutableBytes
        var target = 0
        for row in 0..<count where keep[row] {
            let range = range(of: row)
            move(memory, range, to: target)
            let shift = range.lowerBound - target
            target += range.count
            newEnds.append(target)
            if !keyEnds.isEmpty {
                newKeyEnds.append(keyEnds[row] - shift)
                newDeletes.append(deletes[row])
            }
        }
        swap(&ends, &newEnds)
        swap(&keyEnds, &newKeyEnds)
        swap(&deletes, &newDeletes)
        newEnds.removeAll(keepingCapacity: true)
        newKeyEnds.removeAll(keepingCapacity: true)
        newDeletes.removeAll(keepingCapacity: true)
        bytes.truncate(to: target)
    }

    private var newEnds: [Int] = []
    private var newKeyEnds: [Int] = []
    private var newDeletes: [Bool] = []

    private func move(_ memory: UnsafeMutableRawBufferPointer, _ range: Range<Int>, to target: Int) {
        guard range.lowerBound != target, let base = memory.baseAddress else { return }
        (base + target).copyMemory(from: base + range.lowerBound, byteCount: range.count)
    }
}
