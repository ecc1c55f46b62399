import DataflowOperator

/// What `collect_list`, `collect_set` and `string_agg` keep of a group's values, and what they make of them.
struct CollectRule: Sendable, Hashable {
    enum Limit: Sendable, Hashable {
        case values(Int)
        /// Bytes of the text, separators included.
        case bytes(Int)
    }
    var limit: Limit
    /// What stands between texts; nil where the result is a list.
    var separator: String?
    /// Whether a value that is there already is left out.
    var isSet: Bool
    /// Over the value and what it is ordered by; empty: in the order of arrival.
    var order: [RowOrdering.Term]

    /// What all values together may weigh.
    var budget: Int {
        switch limit {
        case .values(let count): count
        case .bytes(let count): count + (separator?.utf8.count ?? 0)
        }
    }

    /// The type of the result.
    func resultType(_ value: DataType) -> DataType { separator == nil ? .list(value) : value }

    /// How much of the budget each value takes: at least one.
    func weights(_ column: Column) -> (Int) -> Int {
        guard case .bytes = limit, let views = column.viewValues?.views else { return { _ in 1 } }
        let between = separator?.utf8.count ?? 0
        return { max(1, Int(views[$0].length) + between) }
    }

    /// The results of groups from their values, one behind the other.
    ///
    /// - Parameters:
    ///   - offsets: where each group's values start; one more than there are groups.
    ///   - isPresent: whether the group had a value at all.
    func result(_ offsets: [Int32], _ values: Column, isPresent: [Bool]) -> Column {
        let validity = isPresent.contains(false) ? Bitmap(isPresent) : nil
        guard let separator else {
            return Column(
                .list(values.type), .list(offsets: Values(offsets), elements: values), validity: validity)
        }
        var builder = ViewBuilder(capacity: isPresent.count)
        var text: [UInt8] = []
        values.viewValues?.withUnsafeViews { views in
            for group in isPresent.indices {
                text.removeAll(keepingCapacity: true)
                for i in Int(offsets[group])..<Int(offsets[group + 1]) {
                    if i > Int(offsets[group]) { text += separator.utf8 }
                    text += views.bytes(i)
                }
                text.withUnsafeBytes { builder.append($0) }
            }
        }
        return Column(values.type, .view(builder.finishStorage()), validity: validity)
    }

    /// What is reported where values were left out that nobody asked to leave out.
    func problem(_ position: Int) -> ResultProblem {
        let bound =
            switch limit {
            case .values(let count): "\(count) values"
            case .bytes(let count): "\(count) bytes"
            }
        return ResultProblem(
            position: position, code: "collection_cut_off",
            reason:
                "there are more than \(bound), which is the bound where none is given; give one as the last argument",
            consequence: "the rest is left out")
    }
}
