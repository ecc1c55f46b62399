import DataflowOperator

/// What one accumulator sees of a batch: its arguments and which rows count (filter true, required argument not null).
struct AggregateInput {
    var columns: [Column]
    /// Nil: all rows.
    var selection: Bitmap?
    var count: Int
}

/// A result that cannot be given, at a position in the groups asked for.
struct ResultProblem {
    var position: Int
    var code: OperatorError.Code
    var reason: String
    var consequence = "the column is null"
}

/// What an accumulator is asked for at the end.
enum AggregateFinish: Sendable, Hashable {
    /// The number of rows.
    case count
    /// The sum, or the only value that is kept.
    case value
    case average
    case and, or
    case distinctCount
    /// An aggregate of the distinct values.
    indirect case distinct(AggregateFamily, AggregateFinish)
    /// Standard deviation or variance.
    case spread(Spread)
    /// The value below or at which this part of all values is.
    case quantile(Double)
    /// The values; without a bound of the user's, what was left out is reported.
    case collected(isBoundGiven: Bool)
    /// A column of the kept tuple.
    case member(Int)
}

/// One aggregate of all groups at once, by group number.
///
/// The partial state is a fixed list of columns: it is what the local stage sends, what a checkpoint keeps and what
/// `merge` takes. Merging is associative; where an aggregate depends on order (first, last) earlier state comes first.
protocol Accumulator: AnyObject {
    /// Bytes that grow with the rows, not only with the groups.
    var byteCount: Int { get }
    /// Bytes that each group takes besides.
    var bytesPerGroup: Int { get }
    /// Makes room for groups below `bound`.
    func grow(to bound: Int)
    /// Takes rows in; `groups` has one number a row.
    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>)
    /// Takes rows out that were taken in before. Only called on accumulators made for retraction.
    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>)
    /// Takes partial states in.
    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>)
    /// Takes the partial states of groups in `sources` of another accumulator of the same kind in, each into the group at
    /// its place in `groups`: the same as to merge their ``state(_:)``, without columns between where that pays.
    func merge(_ other: any Accumulator, _ sources: UnsafeBufferPointer<Int32>, into groups: UnsafeBufferPointer<Int32>)
    /// The partial states of groups.
    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column]
    /// Each row as a partial state of its own, without touching this accumulator.
    func rowState(_ input: AggregateInput) -> [Column]
    /// The results of groups.
    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column
    /// Empties groups, so that their numbers can be given out again.
    func clear(_ groups: UnsafeBufferPointer<Int32>)
}

extension Accumulator {
    func merge(
        _ other: any Accumulator, _ sources: UnsafeBufferPointer<Int32>, into groups: UnsafeBufferPointer<Int32>
    ) { merge(other.state(sources), groups) }
}

/// Calls `body` for each selected row, in order: a plain loop where all are, whole words of 64 where possible.
@inline(__always)
func eachRow(_ selection: Bitmap?, _ count: Int, _ body: (Int) -> Void) {
    guard let selection else {
        for i in 0..<count { body(i) }
        return
    }
    for w in 0..<selection.wordCount {
        var word = selection.word(w)
        let start = w * 64
        if word == .max {
            for i in start..<start + 64 { body(i) }
        } else {
            while word != 0 {
                body(start + word.trailingZeroBitCount)
                word &= word - 1
            }
        }
    }
}

/// Gives memory back when the last reference goes.
private final class CellMemory {
    private let base: UnsafeMutableRawPointer
    init(_ base: UnsafeMutableRawPointer) { self.base = base }
    deinit { base.deallocate() }
}

/// Memory for one cell a group, grown without initialising twice.
///
/// An object owns the memory, because a `deinit` here is not called (Swift 6.3) where a class has such a struct as a property:
/// LeakSanitizer found the cells of every aggregation.
struct Cells<Cell: BitwiseCopyable>: ~Copyable {
    private(set) var base: UnsafeMutablePointer<Cell>
    private var memory: CellMemory
    private var capacity: Int
    private var count = 0
    private let empty: Cell

    init(_ empty: Cell) {
        self.empty = empty
        capacity = 16
        base = .allocate(capacity: capacity)
        memory = CellMemory(base)
    }

    mutating func grow(to bound: Int) {
        guard bound > count else { return }
        if bound > capacity {
            capacity = max(capacity * 2, bound)
            let larger = UnsafeMutablePointer<Cell>.allocate(capacity: capacity)
            larger.update(from: base, count: count)
            base = larger
            memory = CellMemory(larger)
        }
        (base + count).initialize(repeating: empty, count: bound - count)
        count = bound
    }

    @inline(__always)
    subscript(id: Int32) -> Cell {
        get { base[Int(id)] }
        nonmutating set { base[Int(id)] = newValue }
    }

    func clear(_ ids: UnsafeBufferPointer<Int32>) {
        for id in ids { base[Int(id)] = empty }
    }

    /// One value a group.
    @inline(__always)
    func values<T: BitwiseCopyable & Sendable>(_ ids: UnsafeBufferPointer<Int32>, _ read: (Cell) -> T) -> Values<T> {
        Values(count: ids.count) { target in
            for i in 0..<ids.count { target[i] = read(base[Int(ids[i])]) }
        }
    }

    /// One bit a group; nil when all are set.
    @inline(__always)
    func validity(_ ids: UnsafeBufferPointer<Int32>, _ isValid: (Cell) -> Bool) -> Bitmap? {
        guard !ids.allSatisfy({ isValid(base[Int($0)]) }) else { return nil }
        return Bitmap(count: ids.count) { isValid(base[Int(ids[$0])]) }
    }
}
