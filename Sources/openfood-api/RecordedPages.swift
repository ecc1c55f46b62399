import ArgumentParser
import Glibc

/// Recorded answers, cut anew at any offset and length, byte for byte.
///
/// The pages are inflated once, at the start, into an unlinked temporary file that holds all row objects in order with
/// commas between them, so that any range of rows is one read. In memory are only eight bytes a row.
final class RecordedPages: RowSource {
    let rowCount: Int
    let head: [UInt8]
    private let spool: SpoolFile
    /// Where row i starts; the last entry is where one more would.
    private let starts: [Int]

    /// - Parameters:
    ///   - folder: has `pages-*.ndjson.gz` files; each line of one is an answer to `/rows`.
    ///   - maxRows: later rows are not read.
    init(folder: String, maxRows: Int = .max) throws {
        let files = try Self.pageFiles(in: folder)
        var index = PageIndex(spool: try SpoolFile(), maxRows: maxRows)
        reading: for file in files {
            var reader = try GzipLineReader(path: file)
            while let line = try reader.nextLine() {
                guard try index.add(line, from: file) else { break reading }
            }
        }
        try index.finish()
        guard let head = index.head else {
            throw ValidationError("The page files of \(folder) are empty.")
        }
        self.head = head
        starts = index.starts
        rowCount = index.starts.count - 1
        spool = index.spool
    }

    func appendRows(_ rows: Range<Int>, to body: inout [UInt8]) throws {
        guard !rows.isEmpty else { return }
        // Without the comma behind the last row.
        body += try spool.bytes(starts[rows.lowerBound]..<(starts[rows.upperBound] - 1))
    }

    private static func pageFiles(in folder: String) throws -> [String] {
        guard let directory = opendir(folder) else {
            throw ValidationError("Cannot read the folder \(folder): \(String(cString: strerror(errno))).")
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasPrefix("pages-"), name.hasSuffix(".ndjson.gz") { names.append(name) }
        }
        guard !names.isEmpty else {
            throw ValidationError("There is no pages-*.ndjson.gz in \(folder).")
        }
        return names.sorted().map { "\(folder)/\($0)" }
    }
}

/// Finds the rows of recorded pages and copies them to the spool file.
private struct PageIndex {
    let spool: SpoolFile
    let maxRows: Int
    var head: [UInt8]?
    var starts = [0]
    private var written = 0
    private var pending: [UInt8] = []

    // Inside a JSON string every quote is escaped, so these patterns cannot occur in one.
    private let rowsKey = Array(#""rows":["#.utf8CString)
    private let rowKey = Array(#"{"row_idx":"#.utf8CString)
    private let rowBreak = Array(#"},{"row_idx":"#.utf8CString)
    private let tailKey = Array(#"],"num_rows_total":"#.utf8CString)

    init(spool: SpoolFile, maxRows: Int) {
        self.spool = spool
        self.maxRows = maxRows
    }

    /// Takes one page; returns whether more are wanted.
    mutating func add(_ page: [UInt8], from file: String) throws -> Bool {
        // For the search in C.
        let line = page + [0]
        func damaged(_ reason: String) -> ValidationError {
            ValidationError("\(file): page \(starts.count / 100) is not an answer to /rows: \(reason).")
        }
        let rows: Range<Int> = try line.withUnsafeBytes { page in
            guard let key = page.firstRange(of: rowsKey, in: 0..<line.count),
                let tail = page.firstRange(of: tailKey, in: key.upperBound..<line.count)
            else { throw damaged("it has no \"rows\" followed by \"num_rows_total\"") }
            return key.upperBound..<tail.lowerBound
        }
        if let head {
            guard rows.lowerBound == head.count, memcmp(line, head, head.count) == 0 else {
                throw damaged("its features differ from the first page's")
            }
        } else {
            head = Array(line[..<rows.lowerBound])
        }
        guard !rows.isEmpty else { return true }

        var end = rows.upperBound
        try line.withUnsafeBytes { page in
            guard page.firstRange(of: rowKey, in: rows)?.lowerBound == rows.lowerBound else {
                throw damaged("its rows do not start with \"row_idx\"")
            }
            var position = rows.lowerBound
            while position < rows.upperBound {
                guard starts.count - 1 < maxRows else {
                    end = position - 1
                    break
                }
                let next = page.firstRange(of: rowBreak, in: position..<rows.upperBound)
                let following = next.map { $0.lowerBound + 2 } ?? rows.upperBound + 1
                let expected = starts.count - 1
                guard page.integer(at: position + rowKey.count - 1) == expected else {
                    throw damaged("its row \(expected) does not have that row_idx")
                }
                starts.append(written + following - rows.lowerBound)
                position = following
            }
        }
        if end > rows.lowerBound {
            pending.append(contentsOf: line[rows.lowerBound..<end])
            pending.append(UInt8(ascii: ","))
            written += end - rows.lowerBound + 1
        }
        if pending.count > 1 << 20 { try finish() }
        return starts.count - 1 < maxRows
    }

    mutating func finish() throws {
        try spool.write(pending)
        pending.removeAll(keepingCapacity: true)
    }
}

extension UnsafeRawBufferPointer {
    /// Where `pattern` occurs first within `range`. The text and the pattern end with a zero byte.
    fileprivate func firstRange(of pattern: [CChar], in range: Range<Int>) -> Range<Int>? {
        guard range.lowerBound < range.upperBound, let start = baseAddress,
            let found = strstr((start + range.lowerBound).assumingMemoryBound(to: CChar.self), pattern)
        else { return nil }
        let lower = UnsafeRawPointer(found) - start
        let upper = lower + pattern.count - 1
        return upper <= range.upperBound ? lower..<upper : nil
    }

    /// The decimal number that starts at `position`.
    fileprivate func integer(at position: Int) -> Int {
        var value = 0
        var position = position
        while position < count, case let digit = self[position], digit >= 0x30, digit <= 0x39, value < 1 << 40 {
            value = value * 10 + Int(digit - 0x30)
            position += 1
        }
        return value
    }
}
