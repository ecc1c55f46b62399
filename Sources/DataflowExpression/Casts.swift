import DataflowColumnar

/// Conversions between types. Those that can fail fail the row; `try_cast` makes null of that.
enum Casts {
    /// The conversion, or nil where there is none.
    static func kernel(from: DataType, to: DataType) -> Kernel? {
        if from == to { return { arguments, rows, _ in arguments[0].expanded(rows) } }
        switch (from, to) {
        case (.string, _): return fromText(to)
        case (_, .string): return toText(from)
        case (.bytes, _), (_, .bytes): return nil
        case (.date, .timestamp):
            return { arguments, rows, _ in
                Column(
                    .timestamp,
                    .int64(map(arguments[0].operand(Int32.self), rows) { Int64($0) &* Calendar.microsecondsPerDay }))
            }
        case (.timestamp, .date):
            return { arguments, rows, _ in
                Column(
                    .date,
                    .int32(
                        map(arguments[0].operand(Int64.self), rows) {
                            Int32(truncatingIfNeeded: Calendar.floorDivide($0, Calendar.microsecondsPerDay))
                        }))
            }
        case (.list(let a), .list(let b)):
            guard let element = kernel(from: a, to: b) else { return nil }
            return { arguments, rows, evaluation in
                let column = arguments[0].expanded(rows)
                let elements = ListElements(column)
                return Column(
                    to,
                    .list(offsets: elements.offsets, elements: evaluation.apply(element, toElements: elements)),
                    validity: column.validity)
            }
        case (.structure(let a), .structure(let b)):
            guard a.count == b.count else { return nil }
            var kernels: [Kernel] = []
            for (x, y) in zip(a, b) {
                guard let member = kernel(from: x.type, to: y.type) else { return nil }
                kernels.append(member)
            }
            return { [kernels] arguments, rows, evaluation in
                let column = arguments[0].expanded(rows)
                let members = zip(kernels, column.structureValues ?? []).map { evaluation.apply($0, to: $1) }
                return Column(to, .structure(members), validity: column.validity, count: rows)
            }
        default: return from.isNumeric && to.isNumeric ? number(from, to) : nil
        }
    }

    // MARK: Numbers

    private static func number(_ from: DataType, _ to: DataType) -> Kernel? {
        switch (from, to) {
        case (.int32, .int64): return plain(Int32.self, to) { Int64($0) }
        case (.int32, .float32): return plain(Int32.self, to) { Float($0) }
        case (.int32, .float64): return plain(Int32.self, to) { Double($0) }
        case (.int64, .float32): return plain(Int64.self, to) { Float($0) }
        case (.int64, .float64): return plain(Int64.self, to) { Double($0) }
        case (.float32, .float64): return plain(Float.self, to) { Double($0) }
        case (.int64, .int32): return checked(Int64.self, to) { Int32(exactly: $0) }
        case (.float64, .float32):
            return checked(Double.self, to) { value in
                let narrow = Float(value)
                return narrow.isInfinite && value.isFinite ? nil : narrow
            }
        case (.float32, .int32): return checked(Float.self, to) { Int32(exactly: $0.rounded(.toNearestOrEven)) }
        case (.float32, .int64): return checked(Float.self, to) { Int64(exactly: $0.rounded(.toNearestOrEven)) }
        case (.float64, .int32): return checked(Double.self, to) { Int32(exactly: $0.rounded(.toNearestOrEven)) }
        case (.float64, .int64): return checked(Double.self, to) { Int64(exactly: $0.rounded(.toNearestOrEven)) }
        case (.decimal(_, let scale), .int32):
            return checked(Int128.self, to) { Int32(exactly: Decimal.divideRounding($0, Decimal.powers[scale])) }
        case (.decimal(_, let scale), .int64):
            return checked(Int128.self, to) { Int64(exactly: Decimal.divideRounding($0, Decimal.powers[scale])) }
        case (.decimal(_, let scale), .float32):
            return plain(Int128.self, to) { Float(Decimal.double($0, scale: scale)) }
        case (.decimal(_, let scale), .float64): return plain(Int128.self, to) { Decimal.double($0, scale: scale) }
        case (.int32, .decimal(let precision, let scale)):
            return checked(Int32.self, to) { fit(Decimal.rescale(Int128($0), from: 0, to: scale), precision) }
        case (.int64, .decimal(let precision, let scale)):
            return checked(Int64.self, to) { fit(Decimal.rescale(Int128($0), from: 0, to: scale), precision) }
        case (.decimal(_, let scale), .decimal(let precision, let target)):
            return checked(Int128.self, to) { fit(Decimal.rescale($0, from: scale, to: target), precision) }
        case (.float32, .decimal(let precision, let scale)):
            return checked(Float.self, to) { decimal(Double($0), "\($0)", precision, scale) }
        case (.float64, .decimal(let precision, let scale)):
            return checked(Double.self, to) { decimal($0, "\($0)", precision, scale) }
        default: return nil
        }
    }

    private static func fit(_ value: Int128?, _ precision: Int) -> Int128? {
        guard let value, value < Decimal.powers[precision], value > -Decimal.powers[precision] else { return nil }
        return value
    }

    /// By way of the shortest text, so that 0.1 is 0.1.
    private static func decimal(
        _ value: Double, _ text: @autoclosure () -> String, _ precision: Int, _ scale: Int
    ) -> Int128? {
        value.isFinite ? Decimal.parse(text(), precision: precision, scale: scale) : nil
    }

    private static func plain<A: FixedElement, B: FixedElement>(
        _: A.Type, _ to: DataType, _ convert: @escaping @Sendable (A) -> B
    ) -> Kernel {
        { arguments, rows, _ in Column(to, B.storage(map(arguments[0].operand(A.self), rows, convert))) }
    }

    private static func checked<A: FixedElement, B: FixedElement & ExpressibleByIntegerLiteral>(
        _: A.Type, _ to: DataType, _ convert: @escaping @Sendable (A) -> B?
    ) -> Kernel {
        { arguments, rows, evaluation in
            let input = arguments[0]
            let source = input.operand(A.self)
            let values = Values<B>(count: rows) { out in
                source.values.withUnsafeBufferPointer { values in
                    for row in 0..<rows {
                        if let value = convert(values[row]) {
                            out[row] = value
                        } else {
                            out[row] = 0
                            evaluation.fail(row, refusal(input.column, row, to))
                        }
                    }
                }
            }
            return Column(to, B.storage(values))
        }
    }

    /// `cannot cast '1e99' to int64`, long texts cut short.
    static func refusal(_ column: Column, _ row: Int, _ to: DataType) -> RowError {
        let index = column.count == 1 ? 0 : row
        let shown: String
        switch column.value(at: index) {
        case .string(let text): shown = excerpt(text)
        case .int(let value): shown = "\(value)"
        case .float(let value): shown = "\(value)"
        case .decimal(let value, let scale):
            var output = TextOutput(rows: 1)
            Decimal.append(value, scale: scale, to: &output)
            output.endRow()
            shown = output.finish().viewValues?.string(at: 0) ?? ""
        default: shown = "a \(column.type)"
        }
        return RowError(.invalidCast, "cannot cast \(shown) to \(to)")
    }

    /// A text for messages, in quotes and cut after 40 characters.
    static func excerpt(_ text: String) -> String {
        let start = text.unicodeScalars.prefix(41)
        return start.count > 40 ? "'\(String(start.prefix(40)))…'" : "'\(text)'"
    }

    // MARK: Text

    private static func toText(_ from: DataType) -> Kernel? {
        switch from {
        case .bool:
            return { arguments, rows, _ in
                let bits = arguments[0].bits
                return writeText(rows) { row, output in
                    if bits[row] {
                        output.append("true" as StaticString)
                    } else {
                        output.append("false" as StaticString)
                    }
                }
            }
        case .int32: return written(Int32.self) { value, output in output.append(Int64(value)) }
        case .int64: return written(Int64.self) { value, output in output.append(value) }
        case .float32: return written(Float.self) { value, output in append(value, to: &output) }
        case .float64: return written(Double.self) { value, output in append(value, to: &output) }
        case .decimal(_, let scale):
            return written(Int128.self) { value, output in Decimal.append(value, scale: scale, to: &output) }
        case .timestamp:
            return { arguments, rows, evaluation in
                let values = arguments[0].operand(Int64.self).values
                var text: [UInt8] = []
                return writeText(rows, byteCount: rows * 24) { row, output in
                    text.removeAll(keepingCapacity: true)
                    let value = values[row]
                    if Calendar.timestampRange.contains(value) {
                        Calendar.appendTimestamp(value, to: &text)
                    } else {
                        evaluation.fail(row, TimeKernels.outOfRange("cast(… as string)"))
                    }
                    text.withUnsafeBytes { output.append($0) }
                }
            }
        case .date:
            return { arguments, rows, evaluation in
                let values = arguments[0].operand(Int32.self).values
                var text: [UInt8] = []
                return writeText(rows) { row, output in
                    text.removeAll(keepingCapacity: true)
                    let value = values[row]
                    if Calendar.dateRange.contains(value) {
                        Calendar.appendDate(Int(value), to: &text)
                    } else {
                        evaluation.fail(row, TimeKernels.outOfRange("cast(… as string)"))
                    }
                    text.withUnsafeBytes { output.append($0) }
                }
            }
        case .bytes:
            return { arguments, rows, evaluation in
                let step = arguments[0].stride
                arguments[0].text.withUnsafeViews { views in
                    for row in 0..<rows where !isValidUTF8(views.bytes(row &* step)) {
                        evaluation.fail(row, RowError(.invalidCast, "cannot cast bytes to string: they are not UTF-8"))
                    }
                }
                return arguments[0].expanded(rows).reinterpreted(as: .string).withValidity(nil)
            }
        case .string, .list, .structure: return nil
        }
    }

    private static func written<A: FixedElement>(
        _: A.Type, _ write: @escaping @Sendable (A, inout TextOutput) -> Void
    ) -> Kernel {
        { arguments, rows, _ in
            arguments[0].operand(A.self).values.withUnsafeBufferPointer { values in
                writeText(rows) { row, output in write(values[row], &output) }
            }
        }
    }

    /// As PostgreSQL writes floats: the shortest digits, no `.0`.
    static func append<T: BinaryFloatingPoint & CustomStringConvertible>(_ value: T, to output: inout TextOutput) {
        if value.isNaN {
            output.append("NaN" as StaticString)
        } else if value.isInfinite {
            output.append(value < 0 ? "-Infinity" as StaticString : "Infinity" as StaticString)
        } else {
            var text = value.description
            if text.hasSuffix(".0") { text.removeLast(2) }
            output.append(text)
        }
    }

    private static func fromText(_ to: DataType) -> Kernel? {
        switch to {
        case .bool: return parsedBool
        case .int32: return parsed(to) { parseInteger($0, Int32.self) }
        case .int64: return parsed(to) { parseInteger($0, Int64.self) }
        case .float32:
            return parsed(to) { bytes -> Float? in
                guard let value = parseDouble(bytes) else { return nil }
                let narrow = Float(value)
                return narrow.isInfinite && value.isFinite ? nil : narrow
            }
        case .float64: return parsed(to) { parseDouble($0) }
        case .decimal(let precision, let scale):
            return parsed(to) { Decimal.parse(trimmed($0), precision: precision, scale: scale) }
        case .timestamp: return parsed(to) { Calendar.parseTimestamp($0) }
        case .date: return parsed(to) { parseDate($0) }
        case .bytes:
            return { arguments, rows, _ in arguments[0].expanded(rows).reinterpreted(as: .bytes).withValidity(nil) }
        case .string, .list, .structure: return nil
        }
    }

    /// A day, or the day of a timestamp in UTC.
    private static func parseDate(_ bytes: UnsafeRawBufferPointer) -> Int32? {
        if let days = Calendar.parseDate(bytes) { return days }
        return Calendar.parseTimestamp(bytes).map {
            Int32(truncatingIfNeeded: Calendar.floorDivide($0, Calendar.microsecondsPerDay))
        }
    }

    private static func parsed<B: FixedElement & ExpressibleByIntegerLiteral>(
        _ to: DataType, _ parse: @escaping @Sendable (UnsafeRawBufferPointer) -> B?
    ) -> Kernel {
        { arguments, rows, evaluation in
            let column = arguments[0].column
            let values = arguments[0].text.withUnsafeViews { views in
                Values<B>(count: rows) { out in
                    for row in 0..<rows {
                        if let value = parse(views.bytes(row)) {
                            out[row] = value
                        } else {
                            out[row] = 0
                            evaluation.fail(row, refusal(column, row, to))
                        }
                    }
                }
            }
            return Column(to, B.storage(values))
        }
    }

    private static let parsedBool: Kernel = { arguments, rows, evaluation in
        let column = arguments[0].column
        let bits = arguments[0].text.withUnsafeViews { views in
            packBits(rows) { row in
                switch String(decoding: trimmed(views.bytes(row)), as: UTF8.self).lowercased() {
                case "true", "t", "yes", "y", "on", "1": return true
                case "false", "f", "no", "n", "off", "0": return false
                default:
                    evaluation.fail(row, refusal(column, row, .bool))
                    return false
                }
            }
        }
        return Column(.bool, .bool(bits))
    }

    @inline(__always)
    static func trimmed(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var start = 0
        var end = bytes.count
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }
        while start < end, isSpace(bytes[start]) { start += 1 }
        while end > start, isSpace(bytes[end - 1]) { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }

    @inline(__always)
    static func parseInteger<T: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer, _: T.Type) -> T? {
        let bytes = trimmed(bytes)
        var position = 0
        var isNegative = false
        if let first = bytes.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
            isNegative = first == UInt8(ascii: "-")
            position = 1
        }
        guard position < bytes.count else { return nil }
        var value: T = 0
        while position < bytes.count {
            let digit = bytes[position] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            let (shifted, o1) = value.multipliedReportingOverflow(by: 10)
            let (next, o2) =
                isNegative
                ? shifted.subtractingReportingOverflow(T(digit)) : shifted.addingReportingOverflow(T(digit))
            guard !o1, !o2 else { return nil }
            value = next
            position += 1
        }
        return value
    }

    private static let exactPowers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20,
        1e21, 1e22,
    ]

    /// Decimal notation, `NaN` and `Infinity`. Short numbers are exact by one multiplication or division (Clinger's fast
    /// path); the rest goes through the standard library.
    static func parseDouble(_ bytes: UnsafeRawBufferPointer) -> Double? {
        let bytes = trimmed(bytes)
        var position = 0
        var isNegative = false
        if let first = bytes.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
            isNegative = first == UInt8(ascii: "-")
            position = 1
        }
        var mantissa: UInt64 = 0
        var digits = 0
        var behindPoint = 0
        var seenPoint = false
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "."), !seenPoint {
                seenPoint = true
            } else {
                let digit = byte &- UInt8(ascii: "0")
                guard digit <= 9 else { break }
                digits += 1
                if digits <= 18 { mantissa = mantissa * 10 + UInt64(digit) }
                if seenPoint { behindPoint += 1 }
            }
            position += 1
        }
        if position == bytes.count, digits > 0, digits <= 18, mantissa < 1 << 53, behindPoint <= 22 {
            let value = Double(mantissa) / exactPowers[behindPoint]
            return isNegative ? -value : value
        }
        return parseSlowly(bytes)
    }

    private static func parseSlowly(_ bytes: UnsafeRawBufferPointer) -> Double? {
        let text = String(decoding: bytes, as: UTF8.self)
        switch text.lowercased() {
        case "nan": return .nan
        case "infinity", "+infinity", "inf", "+inf": return .infinity
        case "-infinity", "-inf": return -.infinity
        default:
            guard text.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }), let value = Double(text),
                value.isFinite
            else { return nil }
            return value
        }
    }
}
