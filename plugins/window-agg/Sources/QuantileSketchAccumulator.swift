import DataflowOperator

/// `approx_quantile`: how many values fell into each bucket of doubles whose bits agree but for the lowest `shift`.
///
/// Buckets start as wide as one double and become twice as wide whenever a group has more than ``maxBuckets`` of them. So
/// up to that many different values the result is exact, and beyond, the buckets are as narrow as the data allow: with
/// 52 - shift = b bits the relative error is at most 1 / (2^(b+1) + 1). How wide they are depends on nothing but the
/// values, so any order of merges gives the same result. Rows can be taken back; the width stays.
///
/// Sources: C. Masson, J. E. Rim, H. K. Lee, "DDSketch" (2019), the counting of buckets of relative width, with the mapping
/// by a double's bits; I. Epicoco et al., "UDDSketch: Accurate Tracking of Quantiles in Data Streams" (2020), the
/// uniform collapse.
///
/// Memory a group: a hash table of 128 bytes that doubles up to 32 KiB.
final class QuantileSketchAccumulator: SketchAccumulator {
    /// A bucket is named by the bits of its values, ordered as they are, without the lowest ones.
    private struct Bucket {
        var key: Int64
        var count: Int64
    }
    private struct Cell {
        var table: UnsafeMutablePointer<Bucket>?
        /// Places of the table: a power of two, or zero.
        var places: Int32 = 0
        /// Places in use, also by buckets that were emptied.
        var used: Int32 = 0
        var shift: Int64 = 0
        /// NaN is behind all numbers.
        var nans: Int64 = 0
    }
    static let maxBuckets = 3 << 9
    private static let maxPlaces: Int32 = 2 << 10
    private static let free = Int64.min
    /// The name of the state's column behind the accumulator's number.
    static let stateSuffix = "buckets"

    private var cells = Cells(Cell())
    private var bound = 0
    private(set) var byteCount = 0
    var bytesPerGroup: Int { MemoryLayout<Cell>.stride }
    /// Whether a partial state could not be read, and was left out.
    private(set) var isDamaged = false
    private var scratch: [Bucket] = []
    private let unit: Double

    /// - Parameter scale: of decimals.
    init(scale: Int = 0) { unit = .unit(ofScale: scale) }

    deinit { for id in 0..<bound { cells.base[id].table?.deallocate() } }

    func grow(to bound: Int) {
        self.bound = max(self.bound, bound)
        cells.grow(to: bound)
    }

    // MARK: Rows

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        eachNumber(input) { add($1, 1, cells.base + Int(groups[$0])) }
    }

    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        eachNumber(input) { add($1, -1, cells.base + Int(groups[$0])) }
    }

    @inline(__always)
    private func eachNumber(_ input: AggregateInput, _ body: (Int, Double) -> Void) {
        switch input.columns[0].storage {
        case .int32(let v):
            v.withUnsafeBufferPointer { v in eachRow(input.selection, input.count) { body($0, Double(v[$0])) } }
        case .int64(let v):
            v.withUnsafeBufferPointer { v in eachRow(input.selection, input.count) { body($0, Double(v[$0])) } }
        case .float32(let v):
            v.withUnsafeBufferPointer { v in eachRow(input.selection, input.count) { body($0, Double(v[$0])) } }
        case .float64(let v):
            v.withUnsafeBufferPointer { v in eachRow(input.selection, input.count) { body($0, v[$0]) } }
        case .decimal(let v):
            v.withUnsafeBufferPointer { v in
                eachRow(input.selection, input.count) { body($0, Double(scaled: v[$0], by: unit)) }
            }
        default: break
        }
    }

    @inline(__always)
    private func add(_ value: Double, _ count: Int64, _ cell: UnsafeMutablePointer<Cell>) {
        if value.isNaN { cell.pointee.nans += count } else { add(key: Self.key(value), count, cell) }
    }

    /// The bits of a number as an integer whose order is the numbers'.
    @inline(__always)
    private static func key(_ value: Double) -> Int64 {
        let bits = Int64(bitPattern: value == 0 ? 0 : value.bitPattern)
        return bits >= 0 ? bits : ~(bits & .max)
    }

    /// The number with these bits.
    private static func value(_ key: Int64) -> Double {
        key >= 0 ? Double(bitPattern: UInt64(key)) : -Double(bitPattern: UInt64(~key))
    }

    /// Counts in the bucket of a key that has lost `from` bits already: no more than the group's.
    private func add(key: Int64, from: Int64 = 0, _ count: Int64, _ cell: UnsafeMutablePointer<Cell>) {
        while !put(key >> (cell.pointee.shift - from), count, cell) {
            makeRoom(cell, for: key >> (cell.pointee.shift - from))
        }
    }

    /// Counts in a bucket; false when there is no room for a new one.
    @inline(__always)
    private func put(_ key: Int64, _ count: Int64, _ cell: UnsafeMutablePointer<Cell>) -> Bool {
        guard let table = cell.pointee.table else { return false }
        let mask = Int(cell.pointee.places) - 1
        var place = Int(truncatingIfNeeded: (UInt64(bitPattern: key) &* 0x9E37_79B9_7F4A_7C15) >> 53) & mask
        while table[place].key != Self.free {
            if table[place].key == key {
                table[place].count &+= count
                return true
            }
            place = (place + 1) & mask
        }
        guard (cell.pointee.used + 1) * 4 <= cell.pointee.places * 3 else { return false }
        table[place] = Bucket(key: key, count: count)
        cell.pointee.used += 1
        return true
    }

    /// Leaves emptied buckets out, doubles the table, or makes the buckets wider: as much as one more bucket takes.
    private func makeRoom(_ cell: UnsafeMutablePointer<Cell>, for key: Int64) {
        var live: Int32 = 0
        eachBucket(cell.pointee) { _ in live += 1 }
        if live * 2 < cell.pointee.used {
            rebuild(cell, places: cell.pointee.places, by: 0)
        } else if cell.pointee.places < Self.maxPlaces {
            rebuild(cell, places: max(8, cell.pointee.places * 2), by: 0)
        } else if live * 8 < cell.pointee.used * 7 {
            rebuild(cell, places: cell.pointee.places, by: 0)
        } else {
            rebuild(cell, places: cell.pointee.places, by: bitsToLose(cell.pointee, key))
        }
    }

    /// The fewest bits, but at least one, without which no more buckets are left than may be, `key` among them.
    private func bitsToLose(_ cell: Cell, _ key: Int64) -> Int64 {
        var keys = [key]
        keys.reserveCapacity(Self.maxBuckets + 1)
        eachBucket(cell) { keys.append($0.key) }
        keys.sort()
        // Neighbours become one when all the bits are gone in which they differ.
        var joined = [Int](repeating: 0, count: 65)
        for i in 1..<keys.count { joined[64 - (keys[i] ^ keys[i - 1]).leadingZeroBitCount] += 1 }
        var count = keys.count - joined[0]
        var bits = 0
        while bits == 0 || count > Self.maxBuckets {
            bits += 1
            count -= joined[bits]
        }
        return Int64(bits)
    }

    private func rebuild(_ cell: UnsafeMutablePointer<Cell>, places: Int32, by bits: Int64) {
        let old = cell.pointee
        let table = UnsafeMutablePointer<Bucket>.allocate(capacity: Int(places))
        table.initialize(repeating: Bucket(key: Self.free, count: 0), count: Int(places))
        byteCount += Int(places - old.places) * MemoryLayout<Bucket>.stride
        cell.pointee = Cell(table: table, places: places, shift: old.shift + bits, nans: old.nans)
        eachBucket(old) { _ = put($0.key >> bits, $0.count, cell) }
        old.table?.deallocate()
    }

    private func eachBucket(_ cell: Cell, _ body: (Bucket) -> Void) {
        guard let table = cell.table else { return }
        for place in 0..<Int(cell.places) where table[place].key != Self.free && table[place].count != 0 {
            body(table[place])
        }
    }

    /// The buckets of a group, ascending.
    private func sortBuckets(_ cell: Cell) {
        scratch.removeAll(keepingCapacity: true)
        eachBucket(cell) { scratch.append($0) }
        scratch.sort { $0.key < $1.key }
    }

    // MARK: State: a byte that tells version and form; then a number's bits, or shift, NaNs and buckets

    private enum Form {
        static let single: UInt8 = 0x11
        static let buckets: UInt8 = 0x12
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        var builder = ViewBuilder(capacity: groups.count)
        var writer = SketchWriter()
        for group in groups {
            let cell = cells[group]
            sortBuckets(cell)
            guard !scratch.isEmpty || cell.nans > 0 else {
                builder.appendNull()
                continue
            }
            writer.removeAll()
            writer.append(Form.buckets)
            writer.append(number: UInt64(cell.shift))
            writer.append(number: UInt64(max(0, cell.nans)))
            writer.append(number: UInt64(scratch.count))
            var last: Int64 = 0
            for bucket in scratch {
                writer.append(signed: bucket.key &- last)
                writer.append(number: UInt64(max(0, bucket.count)))
                last = bucket.key
            }
            writer.bytes.withUnsafeBytes { builder.append($0) }
        }
        return [builder.finish(.bytes)]
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        var builder = ViewBuilder(capacity: input.count)
        withUnsafeTemporaryAllocation(byteCount: 9, alignment: 1) { bytes in
            bytes[0] = Form.single
            var next = 0
            eachNumber(input) { row, value in
                while next < row {
                    builder.appendNull()
                    next += 1
                }
                next += 1
                bytes.storeBytes(of: value.bitPattern.littleEndian, toByteOffset: 1, as: UInt64.self)
                builder.append(UnsafeRawBufferPointer(bytes))
            }
        }
        while builder.count < input.count { builder.appendNull() }
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

    /// A number of rows: so small that sums of them do not overflow.
    private func count(_ reader: inout SketchReader) -> Int64? {
        reader.number().flatMap { $0 < 1 << 48 ? Int64($0) : nil }
    }

    /// False, and nothing merged, when the bytes are not a state.
    private func merge(_ bytes: UnsafeRawBufferPointer, _ cell: UnsafeMutablePointer<Cell>) -> Bool {
        var reader = SketchReader(bytes)
        switch reader.byte() {
        case Form.single:
            guard bytes.count == 9 else { return false }
            let bits = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt64.self))
            add(Double(bitPattern: bits), 1, cell)
        case Form.buckets:
            guard let shift = reader.number(), shift < 64, let nans = count(&reader),
                let buckets = count(&reader), buckets <= Self.maxBuckets
            else { return false }
            scratch.removeAll(keepingCapacity: true)
            var last: Int64?
            let most = Self.key(.infinity) >> Int64(shift)
            let least = Self.key(-.infinity) >> Int64(shift)
            for _ in 0..<buckets {
                guard let step = reader.signed(), let n = count(&reader), n > 0 else {
                    return false
                }
                // Differences between numbers of both signs wrap around, and back here.
                let key = (last ?? 0) &+ step
                guard key >= least, key <= most, last.map({ key > $0 }) ?? true else { return false }
                scratch.append(Bucket(key: key, count: n))
                last = key
            }
            guard reader.isAtEnd else { return false }
            let merged = scratch
            while cell.pointee.shift < Int64(shift) {
                rebuild(cell, places: max(8, cell.pointee.places), by: min(63, Int64(shift) - cell.pointee.shift))
            }
            cell.pointee.nans &+= nans
            for bucket in merged { add(key: bucket.key, from: Int64(shift), bucket.count, cell) }
        default: return false
        }
        return true
    }

    // MARK: Results

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        guard case .quantile(let fraction) = finish else { return .nulls(type, count: groups.count) }
        var values: [Double] = []
        var valid: [Bool] = []
        for group in groups {
            let value = quantile(fraction, cells[group])
            values.append(value ?? 0)
            valid.append(value != nil)
        }
        return Column(.float64, .float64(Values(values)), validity: valid.contains(false) ? Bitmap(valid) : nil)
    }

    /// The bucket of the value that SQL's `percentile_disc` would answer, by its middle.
    private func quantile(_ fraction: Double, _ cell: Cell) -> Double? {
        sortBuckets(cell)
        let count = scratch.reduce(cell.nans) { $0 &+ $1.count }
        guard count > 0 else { return nil }
        // 0.07 * 100 is a little above 7: what is a whole number but for rounding is one.
        let place = fraction * Double(count)
        let whole = place.rounded()
        let rank = max(1, Int64(abs(place - whole) <= place * 1e-15 ? whole : place.rounded(.up)))
        var sofar: Int64 = 0
        for bucket in scratch {
            sofar &+= bucket.count
            if sofar >= rank { return Self.middle(bucket.key, cell.shift) }
        }
        return .nan
    }

    /// The number whose relative distance to both ends of a bucket is the same.
    private static func middle(_ key: Int64, _ shift: Int64) -> Double {
        let first = value(key << shift)
        guard shift > 0 else { return first }
        let last = value(key << shift | ((1 << shift) &- 1))
        guard first.isFinite, last.isFinite else { return key < 0 ? -.infinity : .infinity }
        // Zero is with the smallest numbers: nothing is relative there.
        guard first != 0, last != 0 else { return 0 }
        return 2 * (first / (1 + first / last))
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) {
        for group in groups {
            let cell = cells[group]
            byteCount -= Int(cell.places) * MemoryLayout<Bucket>.stride
            cell.table?.deallocate()
            cells[group] = Cell()
        }
    }
}
