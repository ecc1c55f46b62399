/// How the rows of a source are dealt out: in blocks, block b to split b % splits.
///
/// A split's rows have positions of their own: 0, 1, 2 … without gaps. All in closed form, so that a restart needs
/// nothing but the next row's number.
struct RowBlocks: Sendable {
    /// Rows of a block.
    let size: Int64
    let splits: Int64
    /// How many rows there are in all splits together.
    let rowCount: Int64

    /// A split's rows, those before `rowCount`. O(1).
    func rowCount(of split: Int64) -> Int64 {
        let (blocks, rest) = rowCount.quotientAndRemainder(dividingBy: size)
        let whole = blocks > split ? (blocks - split - 1) / splits + 1 : 0
        return whole * size + (blocks % splits == split ? rest : 0)
    }

    /// The number of the row at `position` in its split. O(1).
    func row(at position: Int64, of split: Int64) -> Int64 {
        let (block, offset) = position.quotientAndRemainder(dividingBy: size)
        return (block * splits + split) * size + offset
    }

    /// Where in its split a row stands. O(1).
    func position(of row: Int64) -> Int64 {
        let (block, offset) = row.quotientAndRemainder(dividingBy: size)
        return block / splits * size + offset
    }

    /// The split that a row belongs to. O(1).
    func split(of row: Int64) -> Int64 { row / size % splits }
}
