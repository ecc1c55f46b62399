import DataflowOperator
import DataflowText

/// A small file beside the output: its lock keeps a second sink out, its text says which checkpoint was published last.
struct HistoryFile {
    /// What was published last.
    struct Entry: Equatable {
        var lineage: String
        var epoch: UInt64
    }

    private let file: OutputFile

    /// - Throws: when another sink has it open.
    init(_ path: String, output: String) throws(OperatorError) {
        file = try OutputFile(updating: path)
        guard file.lock() else {
            throw OperatorError(
                .user, .never, "output_in_use",
                "\(output) is being written by another sink or another run; give each sink a path of its own")
        }
    }

    /// Nil where nothing was published, or where the text was cut by a crash.
    func read() throws(OperatorError) -> Entry? {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 512, alignment: 1)
        defer { memory.deallocate() }
        let count = try file.read(into: memory, at: 0)
        let words = String(decoding: memory[..<count], as: UTF8.self).split(separator: " ")
        guard words.count == 3, words[2] == "published\n", let epoch = UInt64(words[1]) else { return nil }
        return Entry(lineage: String(words[0]), epoch: epoch)
    }

    func write(_ entry: Entry) throws(OperatorError) {
        var text = TextBuffer()
        text.append("\(entry.lineage) \(entry.epoch) published\n")
        try text.withUnsafeBytes { (bytes) throws(OperatorError) in try file.write(bytes, at: 0) }
        try file.truncate(to: text.count)
        try file.sync()
    }
}
