import DataflowColumnar

extension Function {
    static let textFunctions: [Function] = [
        text("lower", "In lower case.", [("lower('ÄBC')", "'äbc'")]) { arguments, rows, _ in
            TextKernels.lower(arguments[0], rows)
        },
        text("upper", "In upper case.", [("upper('straße')", "'STRASSE'")]) { arguments, rows, _ in
            TextKernels.upper(arguments[0], rows)
        },
        text(
            "initcap", "The first letter of each word in upper case, the others in lower case.",
            [("initcap('hELLO wORLD')", "'Hello World'")], TextKernels.capitalize),
        trim("trim", [.start, .end], "both ends", "'  a b '", "'a b'"),
        trim("ltrim", .start, "the beginning", "'  a b '", "'a b '"),
        trim("rtrim", .end, "the end", "'  a b '", "'  a b'"),
        Function(
            "length", "length(text)", 1...1, "The number of characters.", [("length('Öl')", "2")]
        ) { site throws(ExpressionError) in
            if site.arguments[0].type == .bytes {
                throw site.error(0, "bytes have no characters", hint: "write octet_length(x)")
            }
            if case .list = site.arguments[0].type {
                throw site.error(0, "length is for texts", hint: "write size(list)")
            }
            return site.call(.int64, [try site.plan(0, .string)]) { arguments, rows, _ in
                TextKernels.measure(arguments[0], rows) { TextKernels.characterCount($0) }
            }
        },
        Function(
            "octet_length", "octet_length(text or bytes)", 1...1, "The number of bytes.", [("octet_length('Öl')", "3")]
        ) { site throws(ExpressionError) in
            site.call(.int64, [try textOrBytes(site, 0)]) { arguments, rows, _ in
                TextKernels.measure(arguments[0], rows) { $0.count }
            }
        },
        Function(
            "substr", "substr(text, start [, length])", 2...3,
            "The characters from `start` on (the first is 1), at most `length`. Also `substring(text from 2 for 3)`.",
            [("substr('dataflow', 5)", "'flow'"), ("substr('dataflow', 1, 4)", "'data'")]
        ) { site throws(ExpressionError) in
            var plans = [try site.plan(0, .string), try site.plan(1, .int64)]
            if site.count > 2 { plans.append(try site.plan(2, .int64)) }
            return site.call(.string, plans, TextKernels.substringKernel)
        },
        side("left", isLeft: true, [("left('dataflow', 4)", "'data'"), ("left('dataflow', -1)", "'dataflo'")]),
        side("right", isLeft: false, [("right('dataflow', 4)", "'flow'")]),
        Function(
            "replace", "replace(text, part, other)", 3...3, "Every occurrence of `part` replaced by `other`.",
            [("replace('a-b-c', '-', '+')", "'a+b+c'")]
        ) { site throws(ExpressionError) in
            site.call(
                .string, [try site.plan(0, .string), try site.plan(1, .string), try site.plan(2, .string)],
                TextKernels.replace)
        },
        Function(
            "translate", "translate(text, from, to)", 3...3,
            "Each character of `from` replaced by the one at the same place of `to`, or left out if there is none.",
            [("translate('12345', '143', 'ax')", "'a2x5'")]
        ) { site throws(ExpressionError) in
            site.call(
                .string, [try site.plan(0, .string), try site.plan(1, .string), try site.plan(2, .string)],
                TextKernels.translate)
        },
        Function(
            "concat", "concat(a, b, …)", 1...anyNumber, "All arguments as one text; nulls are left out.",
            [("concat('a', null, 1)", "'a1'")]
        ) { site throws(ExpressionError) in
            var plans: [Plan] = []
            for part in site.arguments { plans.append(try site.checker.text(part, "concat")) }
            return site.call(.string, plans, isStrict: false, nullable: false, TextKernels.join(separator: false))
        },
        Function(
            "concat_ws", "concat_ws(separator, a, b, …)", 2...anyNumber,
            "The arguments behind the first as one text with the separator between; nulls are left out.",
            [("concat_ws('/', 'a', null, 'b')", "'a/b'")]
        ) { site throws(ExpressionError) in
            var plans = [try site.plan(0, .string)]
            for part in site.arguments.dropFirst() { plans.append(try site.checker.text(part, "concat_ws")) }
            return site.call(
                .string, plans, isStrict: false, nullable: site.arguments[0].nullable, TextKernels.join(separator: true)
            )
        },
        Function(
            "split_part", "split_part(text, separator, n)", 3...3,
            "Part number `n` of the text cut at the separator: 1 is the first, -1 the last. Empty where there is none.",
            [("split_part('a,b,c', ',', 2)", "'b'"), ("split_part('a,b,c', ',', -1)", "'c'")]
        ) { site throws(ExpressionError) in
            site.call(
                .string, [try site.plan(0, .string), try site.plan(1, .string), try site.plan(2, .int64)],
                TextKernels.splitPart)
        },
        Function(
            "split", "split(text, separator)", 2...2, "The parts of the text cut at the separator.",
            [("split('a,b', ',')", "['a', 'b']")]
        ) { site throws(ExpressionError) in
            site.call(.list(.string), [try site.plan(0, .string), try site.plan(1, .string)], ListKernels.split)
        },
        search(
            "starts_with", .prefix, "Whether the text starts with another one.",
            [("starts_with('dataflow', 'data')", "true")]),
        search(
            "ends_with", .suffix, "Whether the text ends with another one.", [("ends_with('dataflow', 'flow')", "true")]
        ),
        Function(
            "contains", "contains(text, part)` or `contains(list, value)", 2...2,
            "Whether the part occurs in the text, or the value is an element of the list (null if only a null element could be it).",
            [("contains('dataflow', 'taf')", "true"), ("contains([1, 2], 3)", "false")]
        ) { site throws(ExpressionError) in
            if site.arguments[0].type == .string || site.arguments[0].type == nil && !isEmptyArray(site.arguments[0]) {
                return site.call(
                    .bool, [try site.plan(0, .string), try site.plan(1, .string)], TextKernels.search(.anywhere))
            }
            let (list, element) = try scalarList(site, 0)
            return site.call(
                .bool, [list, try site.plan(1, element)], nullable: true, ListKernels.contains(element))
        },
        Function(
            "strpos", "strpos(text, part)", 2...2,
            "The number of the character where the part first starts, from 1; 0 if it does not occur. Also `position(part in text)`.",
            [("strpos('dataflow', 'flow')", "5"), ("strpos('a', 'b')", "0")]
        ) { site throws(ExpressionError) in
            site.call(.int64, [try site.plan(0, .string), try site.plan(1, .string)], TextKernels.position)
        },
        pad("lpad", isLeft: true, "beginning", [("lpad('7', 3, '0')", "'007'")]),
        pad("rpad", isLeft: false, "end", [("rpad('ab', 4, '.')", "'ab..'")]),
        text(
            "reverse", "The characters, or the elements of a list, in reverse order.", [("reverse('abc')", "'cba'")],
            TextKernels.reverse),
        Function(
            "repeat", "repeat(text, n)", 2...2, "The text `n` times.", [("repeat('ab', 3)", "'ababab'")]
        ) { site throws(ExpressionError) in
            site.call(.string, [try site.plan(0, .string), try site.plan(1, .int64)], TextKernels.repeat)
        },
        Function(
            "ascii", "ascii(text)", 1...1, "The code of the first character; 0 for an empty text.",
            [("ascii('A')", "65")]
        ) { site throws(ExpressionError) in
            site.call(.int64, [try site.plan(0, .string)]) { arguments, rows, _ in
                TextKernels.measure(arguments[0], rows) { bytes in
                    guard let first = bytes.first else { return 0 }
                    if first < 0x80 { return Int(first) }
                    let end = LikePattern.nextCharacter(bytes, 0)
                    return String(decoding: bytes[0..<end], as: UTF8.self).unicodeScalars.first.map { Int($0.value) }
                        ?? 0
                }
            }
        },
        Function(
            "chr", "chr(code)", 1...1, "The character with that code.", [("chr(65)", "'A'")]
        ) { site throws(ExpressionError) in
            site.call(.string, [try site.plan(0, .int64)]) { arguments, rows, evaluation in
                let codes = arguments[0].operand(Int64.self).values
                return writeText(rows) { row, output in
                    if let code = UInt32(exactly: codes[row]), code > 0, let scalar = Unicode.Scalar(code) {
                        output.append(scalar)
                    } else {
                        evaluation.fail(
                            row, RowError(.invalidArgument, "there is no character with the code \(codes[row])"))
                    }
                }
            }
        },
    ]

    static func isEmptyArray(_ part: Checked) -> Bool { if case .emptyArray = part.content { true } else { false } }

    /// A list whose elements can be compared.
    static func scalarList(_ site: CallSite, _ index: Int) throws(ExpressionError) -> (Plan, DataType) {
        let (plan, element) = try site.list(index)
        guard element.isScalar else {
            throw site.error(index, "\(site.function.name) needs a list of plain values, found \(plan.type)")
        }
        return (plan, element)
    }

    static func textOrBytes(_ site: CallSite, _ index: Int) throws(ExpressionError) -> Plan {
        site.arguments[index].type == .bytes
            ? try site.checker.value(site.arguments[index]) : try site.plan(index, .string)
    }

    private static func text(
        _ name: String, _ summary: String, _ examples: [(call: String, value: String)], _ kernel: @escaping Kernel
    ) -> Function {
        Function(name, "\(name)(text)", 1...1, summary, examples) { site throws(ExpressionError) in
            if name == "reverse", case .list = site.arguments[0].type {
                let (list, _) = try site.list(0)
                return site.call(list.type, [list], ListKernels.reverse)
            }
            return site.call(.string, [try site.plan(0, .string)], kernel)
        }
    }

    private static func trim(
        _ name: String, _ sides: TextKernels.TrimSides, _ where: String, _ text: String, _ result: String
    ) -> Function {
        Function(
            name, "\(name)(text [, characters])", 1...2,
            "The text without the spaces, or any of the given characters, at \(`where`).",
            [("\(name)(\(text))", result)]
        ) { site throws(ExpressionError) in
            var plans = [try site.plan(0, .string)]
            if site.count > 1 { plans.append(try site.plan(1, .string)) }
            return site.call(.string, plans, TextKernels.trim(sides))
        }
    }

    private static func side(_ name: String, isLeft: Bool, _ examples: [(call: String, value: String)]) -> Function {
        Function(
            name, "\(name)(text, n)", 2...2,
            "The \(isLeft ? "first" : "last") `n` characters; all but the \(isLeft ? "last" : "first") -n where n is negative.",
            examples
        ) { site throws(ExpressionError) in
            site.call(.string, [try site.plan(0, .string), try site.plan(1, .int64)], TextKernels.side(isLeft: isLeft))
        }
    }

    private static func search(
        _ name: String, _ search: TextKernels.Search, _ summary: String, _ examples: [(call: String, value: String)]
    ) -> Function {
        Function(name, "\(name)(text, other)", 2...2, summary, examples) { site throws(ExpressionError) in
            site.call(.bool, [try site.plan(0, .string), try site.plan(1, .string)], TextKernels.search(search))
        }
    }

    private static func pad(
        _ name: String, isLeft: Bool, _ end: String, _ examples: [(call: String, value: String)]
    ) -> Function {
        Function(
            name, "\(name)(text, n [, fill])", 2...3,
            "The text filled up to `n` characters at the \(end), with spaces or `fill`; cut to `n` if it is longer.",
            examples
        ) { site throws(ExpressionError) in
            let fill = site.count > 2 ? try site.plan(2, .string) : .constant(.string([" "]))
            return site.call(
                .string, [try site.plan(0, .string), try site.plan(1, .int64), fill], TextKernels.pad(isLeft: isLeft))
        }
    }
}
