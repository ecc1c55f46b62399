import DataflowColumnar

// A map is a list of structs of two members, whatever their names: the key and its value. All that works on lists works on
// it. Where a key stands more than once, the last one counts.
extension Function {
    /// What ``mapFunctions`` that make a map give their members.
    private static func mapType(_ key: DataType, _ value: DataType) -> DataType {
        .list(.structure([Field("key", key), Field("value", value)]))
    }

    static let mapFunctions: [Function] = [
        Function(
            "map_get", "map_get(map, key)", 2...2,
            "The value of a key in a map: a list of structs of two members, key and value. Null where the key is missing; the last one where it stands more than once.",
            [
                ("map_get(map_from_lists(['a', 'b'], [1, 2]), 'b')", "2"),
                ("map_get([struct('a' as name, 1.5 as price)], 'b')", "null"),
            ]
        ) { site throws(ExpressionError) in
            let map = try site.map(0)
            return site.call(
                map.value, [map.plan, try site.plan(1, map.key)], nullable: true, MapKernels.get(map.key))
        },
        Function(
            "map_contains", "map_contains(map, key)", 2...2, "Whether a map has the key.",
            [("map_contains(map_from_lists(['a', 'b'], [1, null]), 'b')", "true")]
        ) { site throws(ExpressionError) in
            let map = try site.map(0)
            return site.call(.bool, [map.plan, try site.plan(1, map.key)], MapKernels.contains(map.key))
        },
        Function(
            "map_keys", "map_keys(map)", 1...1, "The keys of a map, in its order.",
            [("map_keys(map_from_lists(['a', 'b'], [1, 2]))", "['a', 'b']")]
        ) { site throws(ExpressionError) in
            let map = try site.map(0)
            return site.call(.list(map.key), [map.plan], MapKernels.member(0))
        },
        Function(
            "map_values", "map_values(map)", 1...1, "The values of a map, in its order.",
            [("map_values(map_from_lists(['a', 'b'], [1, 2]))", "[1, 2]")]
        ) { site throws(ExpressionError) in
            let map = try site.map(0)
            return site.call(.list(map.value), [map.plan], MapKernels.member(1))
        },
        Function(
            "map_from_lists", "map_from_lists(keys, values)", 2...2,
            "A map, as a `list<struct<key …, value …>>`, of a list of keys and a list of values; the row fails where they differ in length.",
            [("map_from_lists(['a', 'b'], [1, 2])", "[struct('a' as key, 1 as value), struct('b' as key, 2 as value)]")]
        ) { site throws(ExpressionError) in
            let (keys, key) = try scalarList(site, 0)
            let (values, value) = try site.list(1)
            let type = mapType(key, value)
            return site.call(type, [keys, values], MapKernels.fromLists(type))
        },
        Function(
            "json_entries", "json_entries(text)", 1...1,
            "The members of an object in JSON text as a map: texts as they are, numbers and conditions as text, objects and arrays as JSON text. Null where the text is no object.",
            [
                ("map_get(json_entries('{\"a\": 1, \"b\": [2]}'), 'b')", "'[2]'"),
                ("map_keys(json_entries('{\"a\": 1, \"b\": null}'))", "['a', 'b']"),
            ]
        ) { site throws(ExpressionError) in
            let type = mapType(.string, .string)
            return site.call(type, [try site.plan(0, .string)], nullable: true, MapKernels.jsonEntries(type))
        },
    ]
}

extension CallSite {
    /// The argument as a map, with the types of its keys and values.
    fileprivate func map(_ index: Int) throws(ExpressionError) -> (plan: Plan, key: DataType, value: DataType) {
        let (plan, element) = try list(index)
        guard case .structure(let members) = element, members.count == 2, members[0].type.isScalar else {
            throw error(
                index,
                "argument \(index + 1) of \(function.name) must be a map, a list of structs of a key and a value, found \(plan.type)",
                hint: "write transform(list, x -> struct(x.name as key, x.size as value)) to make one")
        }
        return (plan, members[0].type, members[1].type)
    }
}

/// Kernels over maps.
enum MapKernels {
    /// The entries of all maps, and where each map's start.
    private struct Entries {
        let elements: ListElements
        let keys: Column
        let values: Column

        init(_ column: Column) {
            elements = ListElements(column)
            guard let members = elements.values.structureValues, members.count == 2 else {
                preconditionFailure("a map function got a column of \(column.type)")
            }
            let validity = elements.values.validity
            keys = members[0].withValidity(Bitmap.bothValid(members[0].validity, validity))
            values = members[1].withValidity(Bitmap.bothValid(members[1].validity, validity))
        }

        /// The last entry of each row with the wanted key; nil where there is none.
        func matches(_ equal: Kernel, _ wanted: Vector, _ evaluation: Evaluation) -> (Int) -> Int32? {
            let wanted = wanted.isConstant ? wanted : Vector(wanted.column.take(elements.rows))
            let bits = Vector(equal([Vector(keys), wanted], elements.count, evaluation)).bits
            return { row in
                (elements.offsets[row]..<elements.offsets[row + 1]).last { bits[Int($0)] && !keys.isNull(Int($0)) }
            }
        }
    }

    static func get(_ key: DataType) -> Kernel {
        let equal = Comparison.equal.kernel(key)
        return { arguments, rows, evaluation in
            let entries = Entries(arguments[0].expanded(rows))
            return ListKernels.pick(entries.values, rows, entries.matches(equal, arguments[1], evaluation))
        }
    }

    static func contains(_ key: DataType) -> Kernel {
        let equal = Comparison.equal.kernel(key)
        return { arguments, rows, evaluation in
            let match = Entries(arguments[0].expanded(rows)).matches(equal, arguments[1], evaluation)
            return Column(.bool, .bool(Bitmap(count: rows) { match($0) != nil }))
        }
    }

    /// The keys (0) or the values (1).
    static func member(_ number: Int) -> Kernel {
        { arguments, rows, _ in
            let entries = Entries(arguments[0].expanded(rows))
            let member = number == 0 ? entries.keys : entries.values
            return Column(.list(member.type), .list(offsets: entries.elements.offsets, elements: member))
        }
    }

    static func fromLists(_ type: DataType) -> Kernel {
        { arguments, rows, evaluation in
            let keys = ListElements(arguments[0].expanded(rows))
            let values = ListElements(arguments[1].expanded(rows))
            var offsets: [Int32] = [0]
            var taken: (keys: [Int32], values: [Int32]) = ([], [])
            for row in 0..<rows {
                let left = keys.offsets[row]..<keys.offsets[row + 1]
                let right = values.offsets[row]..<values.offsets[row + 1]
                if left.count == right.count {
                    taken.keys += left
                    taken.values += right
                } else {
                    evaluation.fail(
                        row, RowError(.invalidArgument, "a map of \(left.count) keys and \(right.count) values"))
                }
                offsets.append(Int32(truncatingIfNeeded: taken.keys.count))
            }
            return map(
                type, offsets, keys.values.take(Values(taken.keys)), values.values.take(Values(taken.values)))
        }
    }

    static func jsonEntries(_ type: DataType) -> Kernel {
        { arguments, rows, evaluation in
            let step = arguments[0].stride
            var offsets: [Int32] = [0]
            var keys = ViewBuilder()
            var values = ViewBuilder()
            var count: Int32 = 0
            var found = BitmapBuilder()
            arguments[0].text.withUnsafeViews { texts in
                for row in 0..<rows {
                    let text = texts.bytes(row &* step)
                    var checked = JSONReader(text: text)
                    checked.skipSpace()
                    var reader = checked
                    let isObject = evaluation.isWanted(row) && checked.forEachMember { _, _, _ in }
                    found.append(isObject)
                    if isObject {
                        _ = reader.forEachMember { key, hasEscapes, value in
                            append(text, key, hasEscapes, to: &keys)
                            appendValue(text, value, to: &values)
                            count += 1
                        }
                    }
                    offsets.append(count)
                }
            }
            return map(type, offsets, keys.finish(), values.finish()).withValidity(found.finish())
        }
    }

    private static func append(
        _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ hasEscapes: Bool, to builder: inout ViewBuilder
    ) {
        let bytes = UnsafeRawBufferPointer(rebasing: text[range])
        if hasEscapes {
            JSONReader.unescaped(bytes).withUnsafeBytes { builder.append($0) }
        } else {
            builder.append(bytes)
        }
    }

    private static func appendValue(
        _ text: UnsafeRawBufferPointer, _ range: Range<Int>, to builder: inout ViewBuilder
    ) {
        switch Unicode.Scalar(text[range.lowerBound]) {
        case "\"":
            append(text, range.lowerBound + 1..<max(range.lowerBound + 1, range.upperBound - 1), true, to: &builder)
        case "n": builder.appendNull()
        default: append(text, range, false, to: &builder)
        }
    }

    private static func map(_ type: DataType, _ offsets: [Int32], _ keys: Column, _ values: Column) -> Column {
        guard case .list(let element) = type else { preconditionFailure("a map has the type \(type)") }
        let entries = Column(element, .structure([keys, values]), count: keys.count)
        return Column(type, .list(offsets: Values(offsets), elements: entries))
    }
}
