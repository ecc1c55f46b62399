import DataflowColumnar

extension Function {
    static let dataFunctions: [Function] = [
        Function(
            "json_value", "json_value(text, path)", 2...2,
            "The text, number or condition at a path like `$.a.b[0]` inside JSON text, as text. Null where there is nothing, null, an object, an array, or no JSON. Of repeated keys the first counts.",
            [
                ("json_value('{\"a\": {\"b\": [1, \"x\"]}}', '$.a.b[1]')", "'x'"),
                ("cast(json_value('{\"n\": 42}', '$.n') as int64)", "42"), ("json_value('{}', '$.a')", "null"),
            ]
        ) { site throws(ExpressionError) in
            try json(site) { bytes, output in
                switch bytes.first ?? 0 {
                case UInt8(ascii: "\""):
                    JSONReader.unescape(
                        UnsafeRawBufferPointer(rebasing: bytes[1..<max(1, bytes.count - 1)]), to: &output)
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "t"), UInt8(ascii: "f"):
                    output.append(bytes)
                default: return false
                }
                return true
            }
        },
        Function(
            "json_query", "json_query(text, path)", 2...2,
            "What stands at a path inside JSON text, as JSON text. Null where there is nothing or no JSON. Of repeated keys the first counts.",
            [("json_query('{\"a\": [1, 2]}', '$.a')", "'[1, 2]'")]
        ) { site throws(ExpressionError) in
            try json(site) { bytes, output in
                output.append(bytes)
                return true
            }
        },
        Function(
            "to_json", "to_json(x)", 1...1,
            "Any value as JSON text: times as ISO 8601, NaN and infinities as null, structs as objects.",
            [("to_json(struct(1 as a, ['x', null] as b))", "'{\"a\":1,\"b\":[\"x\",null]}'")]
        ) { site throws(ExpressionError) in
            let plan = try site.checker.value(site.arguments[0])
            guard !plan.type.containsBytes else {
                throw site.error(0, "bytes have no JSON form", hint: "write cast(x as string) for text")
            }
            return site.call(.string, [plan]) { arguments, rows, evaluation in
                let write = JSONText.writer(arguments[0].column)
                return writeText(rows) { row, output in if evaluation.isWanted(row) { write(row, &output) } }
            }
        },
        urlPart("url_host", "The host of a URL.", ("url_host('https://me@example.org:8080/a?b=c#d')", "'example.org'"))
        { $0.host },
        urlPart("url_path", "The path of a URL.", ("url_path('https://example.org/a/b?c=d')", "'/a/b'")) { $0.path },
        urlPart(
            "url_query", "The query of a URL, its escapes as they are.",
            ("url_query('https://example.org/a?b=c&d=1#e')", "'b=c&d=1'")
        ) { $0.query },
        urlPart(
            "url_scheme", "The scheme of a URL: a letter, then letters, digits and `+-.`, in front of a colon.",
            ("url_scheme('https://example.org')", "'https'")
        ) { $0.scheme },
        Function(
            "url_parameter", "url_parameter(url, name)", 2...2,
            "The first value of a parameter in the query of a URL, its escapes and those of its name resolved; null where there is none. The row fails where the bytes are not UTF-8.",
            [
                ("url_parameter('https://example.org/?q=a+b%21&p=2', 'q')", "'a b!'"),
                ("url_parameter('https://example.org/', 'q')", "null"),
            ]
        ) { site throws(ExpressionError) in
            site.call(.string, [try site.plan(0, .string), try site.plan(1, .string)], nullable: true) {
                arguments, rows, evaluation in
                let (s, t) = (arguments[0].stride, arguments[1].stride)
                return arguments[0].text.withUnsafeViews { urls in
                    arguments[1].text.withUnsafeViews { names in
                        writeOptionalText(rows) { row, output in
                            let url = urls.bytes(row &* s)
                            guard let query = Addresses.URLParts(url).query,
                                let value = Addresses.parameter(names.bytes(row &* t), url, in: query)
                            else { return false }
                            let error = Addresses.decode(UnsafeRawBufferPointer(rebasing: url[value]), to: &output)
                            if let error { evaluation.fail(row, error) }
                            return error == nil
                        }
                    }
                }
            }
        },
        rewritten(
            "url_decode", "Percent escapes resolved, `+` as a space; the row fails where the bytes are not UTF-8.",
            ("url_decode('a%20b+c')", "'a b c'")
        ) { Addresses.decode($0, to: &$1) },
        rewritten(
            "url_encode", "Everything but letters, digits and `-._~` as percent escapes.",
            ("url_encode('a b/ö')", "'a%20b%2F%C3%B6'")
        ) {
            Addresses.encode($0, to: &$1)
            return nil
        },
        Function(
            "ip_version", "ip_version(address)", 1...1,
            "4 or 6 for an IP address, null where it is none. An IPv4 address mapped into IPv6 counts as IPv4.",
            [("ip_version('10.1.2.3')", "4"), ("ip_version('2001:db8::1')", "6"), ("ip_version('here')", "null")]
        ) { site throws(ExpressionError) in
            site.call(.int64, [try site.plan(0, .string)], nullable: true) { arguments, rows, _ in
                let step = arguments[0].stride
                var known = BitmapBuilder()
                let versions = arguments[0].text.withUnsafeViews { addresses in
                    Values<Int64>(count: rows) { out in
                        for row in 0..<rows {
                            let address = Addresses.address(addresses.bytes(row &* step))
                            known.append(address != nil)
                            out[row] = address.map { Addresses.isFour($0) ? 4 : 6 } ?? 0
                        }
                    }
                }
                return Column(.int64, .int64(versions), validity: known.finish())
            }
        },
        Function(
            "ip_network", "ip_network(address, bits)", 2...2,
            "The network of an IPv4 or IPv6 address with that many bits in front, as text. Null where the address is none; the row fails for bits that it has not.",
            [
                ("ip_network('10.1.2.3', 8)", "'10.0.0.0/8'"),
                ("ip_network('2001:db8:1:2::3', 48)", "'2001:db8:1::/48'"),
            ]
        ) { site throws(ExpressionError) in
            site.call(.string, [try site.plan(0, .string), try site.plan(1, .int64)], nullable: true) {
                arguments, rows, evaluation in
                let step = arguments[0].stride
                let bits = arguments[1].operand(Int64.self)
                return arguments[0].text.withUnsafeViews { addresses in
                    writeOptionalText(rows) { row, output in
                        guard let address = Addresses.address(addresses.bytes(row &* step)) else { return false }
                        let count = bits.values[bits.isConstant ? 0 : row]
                        guard let network = Addresses.Network(address, bits: count) else {
                            evaluation.fail(
                                row,
                                RowError(.invalidArgument, "an IP address has no network of \(count) bits"))
                            return false
                        }
                        network.write(to: &output)
                        return true
                    }
                }
            }
        },
        Function(
            "ip_in", "ip_in(address, network)", 2...2,
            "Whether an IPv4 or IPv6 address lies in a network like `10.0.0.0/8`; an IPv4 address is in no network of IPv6. Null where the address is none; the row fails where the network is none.",
            [
                ("ip_in('10.1.2.3', '10.0.0.0/8')", "true"), ("ip_in('2001:db8::1', '2001:db8::/32')", "true"),
                ("ip_in('here', '10.0.0.0/8')", "null"),
            ]
        ) { site throws(ExpressionError) in
            let network = try site.plan(1, .string)
            if let constant = network.constant, !constant.isNull(0), let bytes = constant.viewValues?.bytes(at: 0),
                bytes.withUnsafeBytes({ Addresses.Network($0) }) == nil
            {
                throw site.error(
                    1, "this is no network of IP addresses", hint: "write it like '10.0.0.0/8' or '2001:db8::/32'")
            }
            return site.call(.bool, [try site.plan(0, .string), network], nullable: true) {
                arguments, rows, evaluation in
                let (s, t) = (arguments[0].stride, arguments[1].stride)
                var known = BitmapBuilder()
                let bits = arguments[0].text.withUnsafeViews { addresses in
                    arguments[1].text.withUnsafeViews { networks in
                        let fixed = t == 0 ? Addresses.Network(networks.bytes(0)) : nil
                        return Bitmap(count: rows) { row in
                            guard let network = fixed ?? Addresses.Network(networks.bytes(row &* t)) else {
                                evaluation.fail(
                                    row,
                                    RowError(
                                        .invalidArgument,
                                        "\(Casts.excerpt(String(decoding: networks.bytes(row &* t), as: UTF8.self))) is no network of IP addresses"
                                    ))
                                known.append(false)
                                return false
                            }
                            let address = Addresses.address(addresses.bytes(row &* s))
                            known.append(address != nil)
                            return address.map(network.contains) ?? false
                        }
                    }
                }
                return Column(.bool, .bool(bits), validity: known.finish())
            }
        },
    ]

    /// A text column from a closure that says whether the row has one.
    static func writeOptionalText(_ rows: Int, _ body: (Int, inout TextOutput) -> Bool) -> Column {
        var found = BitmapBuilder()
        let column = writeText(rows) { row, output in
            let isThere = body(row, &output)
            if !isThere { output.restartRow() }
            found.append(isThere)
        }
        return column.withValidity(found.finish())
    }

    private static func json(
        _ site: CallSite, _ write: @escaping @Sendable (UnsafeRawBufferPointer, inout TextOutput) -> Bool
    ) throws(ExpressionError) -> Checked {
        let text = try site.constantText(1, "the path")
        guard let path = JSONPath(text) else {
            throw site.error(1, "this is no JSON path", hint: "write it like '$.a.b[0]' or '$[''the name'']'")
        }
        return site.call(.string, [try site.plan(0, .string)], nullable: true) { arguments, rows, _ in
            let step = arguments[0].stride
            return arguments[0].text.withUnsafeViews { texts in
                writeOptionalText(rows) { row, output in
                    let text = texts.bytes(row &* step)
                    guard let range = path.find(in: text) else { return false }
                    return write(UnsafeRawBufferPointer(rebasing: text[range]), &output)
                }
            }
        }
    }

    /// - Parameter write: writes the text; answers why the row has no value, if so.
    private static func rewritten(
        _ name: String, _ summary: String, _ example: (call: String, value: String),
        _ write: @escaping @Sendable (UnsafeRawBufferPointer, inout TextOutput) -> RowError?
    ) -> Function {
        Function(name, "\(name)(text)", 1...1, summary, [example]) { site throws(ExpressionError) in
            site.call(.string, [try site.plan(0, .string)]) { arguments, rows, evaluation in
                let step = arguments[0].stride
                return arguments[0].text.withUnsafeViews { texts in
                    writeText(rows) { row, output in
                        if let error = write(texts.bytes(row &* step), &output) { evaluation.fail(row, error) }
                    }
                }
            }
        }
    }

    private static func urlPart(
        _ name: String, _ summary: String, _ example: (call: String, value: String),
        _ part: @escaping @Sendable (Addresses.URLParts) -> Range<Int>?
    ) -> Function {
        Function(name, "\(name)(url)", 1...1, summary + " Null where it has none.", [example]) {
            site throws(ExpressionError) in
            site.call(.string, [try site.plan(0, .string)], nullable: true) { arguments, rows, _ in
                var found = BitmapBuilder()
                let column = sliceText(arguments[0], rows) { _, url in
                    let range = part(Addresses.URLParts(url))
                    found.append(range != nil)
                    return UnsafeRawBufferPointer(rebasing: url[range ?? 0..<0])
                }
                return column.withValidity(found.finish())
            }
        }
    }
}

extension DataType {
    fileprivate var containsBytes: Bool {
        switch self {
        case .bytes: true
        case .list(let element): element.containsBytes
        case .structure(let fields): fields.contains { $0.type.containsBytes }
        default: false
        }
    }
}
