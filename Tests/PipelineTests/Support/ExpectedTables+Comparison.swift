import DataflowEndToEnd
import Testing

extension TestDatabase {
    /// Compares the seven tables row by row with what SQL computed.
    func expectTablesAsExpected(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let lines = try run(file: "openfood-compare.sql")
        let sizes = lines.prefix(7).map { $0.split(separator: "|").map(String.init) }
        try #require(sizes.count == 7, "\(lines)", sourceLocation: sourceLocation)
        for size in sizes {
            try #require(size.count == 4, sourceLocation: sourceLocation)
            #expect(
                size[3] == "0",
                "\(size[0]): \(size[1]) rows expected, \(size[2]) found, \(size[3]) on one side only\n\(lines.dropFirst(7).filter { $0.hasPrefix(size[0]) }.joined(separator: "\n"))",
                sourceLocation: sourceLocation)
            #expect(Int(size[1]) ?? 0 > 0, "\(size[0]) is expected to have rows", sourceLocation: sourceLocation)
        }
    }
}
