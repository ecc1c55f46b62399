import DataflowPostgres

/// Decides which rows to send next when the server refuses some, so that the good ones all arrive and the bad ones are
/// found: pure, without a connection.
///
/// All rows are tried at once. When a range is refused, a shorter one that starts at the same row is tried: up to the
/// row that the server names, or half. A single refused row is bad; after each success the range doubles. With one bad
/// row among n this takes about 2 log n attempts, with nothing but bad rows n + log n.
struct Bisection: Equatable {
    let count: Int
    private var position = 0
    private var length: Int

    init(count: Int) {
        self.count = count
        length = count
    }

    /// The rows to try; nil when all are through.
    var next: Range<Int>? {
        position < count ? position..<position + min(length, count - position) : nil
    }

    /// The server has taken the rows of `next`.
    mutating func accepted() {
        guard let tried = next else { preconditionFailure("rows were accepted after the last one") }
        position = tried.upperBound
        length = min(count, max(1, length) * 2)
    }

    /// The server has refused the rows of `next`.
    ///
    /// - Parameter row: the row of the range, from 0, that the server named, if it did.
    /// - Returns: the row that is bad by itself, nil if shorter ranges must be tried.
    mutating func refused(naming row: Int? = nil) -> Int? {
        guard let tried = next else { preconditionFailure("rows were refused after the last one") }
        if tried.count == 1 {
            position += 1
            return tried.lowerBound
        }
        if let row, row > 0, row < tried.count {
            length = row
        } else if row == 0 {
            length = 1
        } else {
            length = tried.count / 2
        }
        return nil
    }
}
