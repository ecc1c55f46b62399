import CRE2
import DataflowColumnar

extension Function {
    static let patternFunctions: [Function] = [
        Function(
            "regexp_like", "regexp_like(text, pattern [, flags])", 2...3,
            "Whether the pattern matches anywhere in the text. Flags: `i` ignores case, `s` lets `.` match line breaks, `m` lets `^` and `$` match at lines.",
            [("regexp_like('dataflow', '^data')", "true"), ("regexp_like('DATA', 'data', 'i')", "true")]
        ) { site throws(ExpressionError) in
            let pattern = try PatternArgument(site, flags: 2)
            return site.call(.bool, [try site.plan(0, .string), try site.plan(1, .string)]) {
                arguments, rows, evaluation in
                let step = arguments[0].stride
                let patterns = pattern.rows(arguments[1], evaluation)
                let bits = arguments[0].text.withUnsafeViews { texts in
                    packBits(rows) { row in
                        evaluation.isWanted(row) && patterns.expression(row)?.matches(texts.bytes(row &* step)) ?? false
                    }
                }
                return Column(.bool, .bool(bits))
            }
        },
        Function(
            "regexp_extract", "regexp_extract(text, pattern [, group [, flags]])", 2...4,
            "What the pattern matches first: its first group if it has one, else all of it; or the group of that number (0 is all). Null if nothing matches.",
            [("regexp_extract('en:Snacks', '^([a-z]+):')", "'en'"), ("regexp_extract('a1b22', '[0-9]+')", "'1'")]
        ) { site throws(ExpressionError) in
            let pattern = try PatternArgument(site, flags: 3)
            var plans = [try site.plan(0, .string), try site.plan(1, .string)]
            if site.count > 2 {
                plans.append(try site.plan(2, .int64))
                if let fixed = pattern.fixed, let group = plans[2].constant, !group.isNull(0),
                    let number = group.int64Values?[0], number < 0 || number > fixed.groupCount
                {
                    throw site.error(2, "the pattern has \(fixed.groupCount) groups, not \(number)")
                }
            }
            return site.call(.string, plans, nullable: true) { arguments, rows, evaluation in
                extract(pattern, arguments, rows, evaluation)
            }
        },
        Function(
            "regexp_replace", "regexp_replace(text, pattern, replacement [, flags])", 3...4,
            "The first match of the pattern replaced, or all with the flag `g`. `\\1` … `\\9` in the replacement stand for groups, `\\&` for the whole match.",
            [
                ("regexp_replace('en:salty-snacks', '^[a-z]{2,3}:', '')", "'salty-snacks'"),
                ("regexp_replace('a1b2', '[0-9]', '#', 'g')", "'a#b#'"),
                ("regexp_replace('john smith', '(\\w+) (\\w+)', '\\2 \\1')", "'smith john'"),
            ]
        ) { site throws(ExpressionError) in
            let pattern = try PatternArgument(site, flags: 3)
            let isGlobal = pattern.flags.contains("g")
            let plans = [try site.plan(0, .string), try site.plan(1, .string), try site.plan(2, .string)]
            if let prefix = pattern.fixed?.prefix, let constant = plans[2].constant, !constant.isNull(0),
                constant.viewValues?.views[0].length == 0
            {
                // A simple pattern at the beginning that is cut off: no text is copied at all.
                return site.call(.string, plans) { arguments, rows, _ in
                    sliceText(arguments[0], rows) { _, bytes in
                        UnsafeRawBufferPointer(rebasing: bytes[(prefix.match(bytes) ?? 0)...])
                    }
                }
            }
            return site.call(.string, plans) { arguments, rows, evaluation in
                replace(pattern, isGlobal: isGlobal, arguments, rows, evaluation)
            }
        },
        Function(
            "regexp_count", "regexp_count(text, pattern [, flags])", 2...3, "How often the pattern matches.",
            [("regexp_count('a1b22', '[0-9]+')", "2")]
        ) { site throws(ExpressionError) in
            let pattern = try PatternArgument(site, flags: 2)
            return site.call(.int64, [try site.plan(0, .string), try site.plan(1, .string)]) {
                arguments, rows, evaluation in
                let step = arguments[0].stride
                let patterns = pattern.rows(arguments[1], evaluation)
                return arguments[0].text.withUnsafeViews { texts in
                    Column(
                        .int64,
                        .int64(
                            Values(count: rows) { out in
                                for row in 0..<rows {
                                    var count: Int64 = 0
                                    if evaluation.isWanted(row), let expression = patterns.expression(row) {
                                        forEachMatch(expression, texts.bytes(row &* step), group: 0) { _ in count += 1 }
                                    }
                                    out[row] = count
                                }
                            }))
                }
            }
        },
        Function(
            "regexp_extract_all", "regexp_extract_all(text, pattern [, flags])", 2...3,
            "All matches of the pattern: its first group if it has one, else all of it.",
            [("regexp_extract_all('a1b22', '[0-9]+')", "['1', '22']")]
        ) { site throws(ExpressionError) in
            let pattern = try PatternArgument(site, flags: 2)
            return site.call(.list(.string), [try site.plan(0, .string), try site.plan(1, .string)]) {
                arguments, rows, evaluation in
                let step = arguments[0].stride
                let patterns = pattern.rows(arguments[1], evaluation)
                var parts: [(row: Int32, range: Range<Int>)] = []
                var offsets: [Int32] = [0]
                arguments[0].text.withUnsafeViews { texts in
                    for row in 0..<rows {
                        if evaluation.isWanted(row), let expression = patterns.expression(row) {
                            forEachMatch(
                                expression, texts.bytes(row &* step), group: min(1, expression.groupCount)
                            ) { parts.append((Int32(truncatingIfNeeded: row * step), $0)) }
                        }
                        offsets.append(Int32(truncatingIfNeeded: parts.count))
                    }
                }
                let repeated = Vector(arguments[0].column.take(Values(parts.map(\.row))))
                let elements = sliceText(repeated, parts.count) { index, bytes in
                    UnsafeRawBufferPointer(rebasing: bytes[parts[index].range])
                }
                return Column(.list(.string), .list(offsets: Values(offsets), elements: elements))
            }
        },
    ]

    // MARK: Patterns

    /// The pattern of a call: compiled when the call is checked if it is constant.
    struct PatternArgument: Sendable {
        let fixed: RegularExpression?
        let flags: String

        /// - Parameter flags: the index of the argument with the flags.
        init(_ site: CallSite, flags index: Int) throws(ExpressionError) {
            flags = site.count > index ? try site.constantText(index, "the flags of \(site.function.name)") : ""
            for flag in flags where !"gims".contains(flag) {
                throw site.error(
                    index, "unknown flag '\(flag)'",
                    hint: "flags are g (all), i (ignore case), m (lines), s (. matches line breaks)")
            }
            let plan = try site.plan(1, .string)
            guard let column = plan.constant, !column.isNull(0), case .string(let text) = column.value(at: 0) else {
                fixed = nil
                return
            }
            do throws(RegularExpression.Failure) { fixed = try RegularExpression(text, flags: flags) } catch {
                throw site.error(
                    1, "the regular expression does not compile: \(error.message)",
                    hint: "the syntax is RE2's: no look-around, no back-references")
            }
        }

        func rows(_ patterns: Vector, _ evaluation: Evaluation) -> RowPatterns {
            RowPatterns(fixed: fixed, flags: flags, patterns: patterns, evaluation: evaluation)
        }
    }

    /// The pattern of each row.
    final class RowPatterns {
        private let fixed: RegularExpression?
        private let flags: String
        private let patterns: Vector
        private let evaluation: Evaluation

        init(fixed: RegularExpression?, flags: String, patterns: Vector, evaluation: Evaluation) {
            self.fixed = fixed
            self.flags = flags
            self.patterns = patterns
            self.evaluation = evaluation
        }

        /// Nil (and an error of the row) when the row's pattern does not compile.
        @inline(__always)
        func expression(_ row: Int) -> RegularExpression? { fixed ?? look(row) }

        private func look(_ row: Int) -> RegularExpression? {
            let text = patterns.text.string(at: row * patterns.stride)
            switch evaluation.scratch.patterns.pattern(text, flags: flags) {
            case .success(let expression): return expression
            case .failure(let failure):
                evaluation.fail(
                    row,
                    RowError(
                        .invalidArgument,
                        "the regular expression \(Casts.excerpt(text)) does not compile: \(failure.message)"))
                return nil
            }
        }
    }

    private static func forEachMatch(
        _ expression: RegularExpression, _ text: UnsafeRawBufferPointer, group: Int, _ body: (Range<Int>) -> Void
    ) {
        withUnsafeTemporaryAllocation(of: RegularExpression.Group.self, capacity: group + 1) { groups in
            var position = 0
            while position <= text.count, expression.match(text, from: position, groups) {
                let whole = groups[0]
                if groups[group].start >= 0 {
                    body(groups[group].start..<(groups[group].start + groups[group].length))
                }
                let end = whole.start + whole.length
                position = whole.length > 0 ? end : end < text.count ? LikePattern.nextCharacter(text, end) : end + 1
            }
        }
    }

    private static func extract(
        _ pattern: PatternArgument, _ arguments: [Vector], _ rows: Int, _ evaluation: Evaluation
    ) -> Column {
        let patterns = pattern.rows(arguments[1], evaluation)
        let numbers = arguments.count > 2 ? arguments[2].operand(Int64.self) : nil
        var found = BitmapBuilder()
        let column = withUnsafeTemporaryAllocation(
            of: RegularExpression.Group.self, capacity: RegularExpression.maxGroups
        ) { groups in
            sliceText(arguments[0], rows) { row, bytes in
                let empty = UnsafeRawBufferPointer(rebasing: bytes[0..<0])
                guard evaluation.isWanted(row), let expression = patterns.expression(row) else {
                    found.append(false)
                    return empty
                }
                let number =
                    numbers.map { $0.values[$0.isConstant ? 0 : row] } ?? Int64(min(1, expression.groupCount))
                guard number >= 0, number <= min(expression.groupCount, RegularExpression.maxGroups - 1) else {
                    evaluation.fail(
                        row,
                        RowError(.invalidArgument, "the pattern has \(expression.groupCount) groups, not \(number)"))
                    found.append(false)
                    return empty
                }
                let wanted = UnsafeMutableBufferPointer(rebasing: groups[0...Int(number)])
                guard expression.match(bytes, from: 0, wanted), wanted[Int(number)].start >= 0 else {
                    found.append(false)
                    return empty
                }
                found.append(true)
                let group = wanted[Int(number)]
                return UnsafeRawBufferPointer(rebasing: bytes[group.start..<(group.start + group.length)])
            }
        }
        return column.withValidity(found.finish())
    }

    private static func replace(
        _ pattern: PatternArgument, isGlobal: Bool, _ arguments: [Vector], _ rows: Int, _ evaluation: Evaluation
    ) -> Column {
        let patterns = pattern.rows(arguments[1], evaluation)
        let (s, t) = (arguments[0].stride, arguments[2].stride)
        return withUnsafeTemporaryAllocation(of: RegularExpression.Group.self, capacity: 10) { groups in
            arguments[0].text.withUnsafeViews { texts in
                arguments[2].text.withUnsafeViews { replacements in
                    writeText(rows) { row, output in
                        let text = texts.bytes(row &* s)
                        guard evaluation.isWanted(row), let expression = patterns.expression(row) else { return }
                        let replacement = replacements.bytes(row &* t)
                        let used = UnsafeMutableBufferPointer(rebasing: groups[0...min(9, expression.groupCount)])
                        var copied = 0
                        var position = 0
                        while position <= text.count, expression.match(text, from: position, used) {
                            let start = used[0].start
                            let end = start + used[0].length
                            output.append(UnsafeRawBufferPointer(rebasing: text[copied..<start]))
                            append(replacement, text, used, to: &output)
                            copied = end
                            if !isGlobal { break }
                            if output.rowByteCount > TextOutput.maxRowByteCount {
                                evaluation.fail(row, TextKernels.tooLong("regexp_replace"))
                                output.restartRow()
                                return
                            }
                            position =
                                end > start ? end : end < text.count ? LikePattern.nextCharacter(text, end) : end + 1
                        }
                        output.append(UnsafeRawBufferPointer(rebasing: text[copied...]))
                    }
                }
            }
        }
    }

    private static func append(
        _ replacement: UnsafeRawBufferPointer, _ text: UnsafeRawBufferPointer,
        _ groups: UnsafeMutableBufferPointer<RegularExpression.Group>, to output: inout TextOutput
    ) {
        var position = 0
        while position < replacement.count {
            let byte = replacement[position]
            position += 1
            guard byte == UInt8(ascii: "\\"), position < replacement.count else {
                output.append(byte)
                continue
            }
            let next = replacement[position]
            position += 1
            let number: Int
            switch next {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = Int(next - UInt8(ascii: "0"))
            case UInt8(ascii: "&"): number = 0
            default:
                output.append(next)
                continue
            }
            if number < groups.count, groups[number].start >= 0 {
                let group = groups[number]
                output.append(UnsafeRawBufferPointer(rebasing: text[group.start..<(group.start + group.length)]))
            }
        }
    }
}
