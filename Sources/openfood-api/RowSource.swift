/// A table that can be read at any offset.
protocol RowSource: Sendable {
    /// How many rows there are: `num_rows_total`.
    var rowCount: Int { get }

    /// The beginning of every answer: `{"features":[…],"rows":[`.
    var head: [UInt8] { get }

    /// Appends the row objects of `rows`, with commas between them. The same rows give the same bytes, whatever the range.
    ///
    /// - Precondition: `rows` lies within `0..<rowCount`.
    func appendRows(_ rows: Range<Int>, to body: inout [UInt8]) throws
}

extension RowSource {
    /// A whole answer to `/rows`.
    func page(offset: Int, length: Int) throws -> [UInt8] {
        let start = min(offset, rowCount)
        let rows = start..<min(start + length, rowCount)
        var body = head
        body.reserveCapacity(head.count + rows.count * 20_000)
        try appendRows(rows, to: &body)
        body.append(contentsOf: #"],"num_rows_total":\#(rowCount),"num_rows_per_page":100,"partial":false}"#.utf8)
        return body
    }
}
