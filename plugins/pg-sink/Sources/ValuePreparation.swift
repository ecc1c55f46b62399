import DataflowColumnar
import DataflowText
import Glibc

/// Checks the values of a batch against what the target's columns can hold, and encodes aside what has no fixed size.
struct ValuePreparation {
    private(set) var columns: [PreparedColumn] = []
    /// The first refusal of each refused row, by row.
    private var refused: [Int: RowRefusal] = [:]

    /// Refused rows, ascending.
    var refusals: [RowRefusal] { refused.values.sorted { $0.row < $1.row } }

    static func prepare(_ columns: [PgColumn], _ batch: RecordBatch) -> ValuePreparation {
        var preparation = ValuePreparation()
        // Of a delete only the key is written.
        let live = batch.deletes.map { ~$0 }
        for column in columns {
            let values = batch.columns[column.source]
            let validity = column.isKey ? values.validity : Bitmap.bothValid(values.validity, live)
            let prepared = preparation.prepare(values.withValidity(validity), column)
            preparation.columns.append(PreparedColumn(values: prepared, validity: validity))
        }
        return preparation
    }

    private mutating func refuse(_ row: Int, _ code: String, _ column: PgColumn, _ reason: String) {
        if refused[row] == nil {
            refused[row] = RowRefusal(row: row, code: code, reason: "column \(column.name): \(reason)")
        }
    }

    // MARK: Columns

    private mutating func prepare(_ values: Column, _ column: PgColumn) -> PreparedColumn.Values {
        switch (column.format, values.storage) {
        case (.bool, .bool(let bits)): return .bool(bits)
        case (.int2, .int32), (.int2, .int64):
            checkIntegers(values, column, Int64(Int16.min)...Int64(Int16.max), "smallint")
            return .int2(values)
        case (.int4, .int32): return .int4(values)
        case (.int4, .int64):
            checkIntegers(values, column, Int64(Int32.min)...Int64(Int32.max), "integer")
            return .int4(values)
        case (.int8, .int32), (.int8, .int64): return .int8(values)
        case (.float4, .float32(let floats)): return .float4(column.isKey ? ValuePreparation.canonical(floats) : floats)
        case (.float4, .float64(let doubles)): return .float4(narrowed(doubles, values.validity, column))
        case (.float8, .float64(let doubles)):
            return .float8(column.isKey ? ValuePreparation.canonical(doubles) : doubles)
        case (.float8, .float32(let floats)):
            let wide = ValuePreparation.map(floats) { Double($0) }
            return .float8(column.isKey ? ValuePreparation.canonical(wide) : wide)
        case (.float8, .int32(let integers)): return .float8(ValuePreparation.map(integers) { Double($0) })
        case (.timestamp, .int64(let times)):
            checkTimestamps(times, values.validity, column)
            return .timestamp(times)
        case (.date, .int32(let days)):
            checkDates(days, values.validity, column)
            return .date(days)
        case (.text, .view(let storage)), (.json, .view(let storage)):
            checkText(storage, values.validity, column)
            return .text(storage)
        case (.bytea, .view(let storage)): return .text(storage)
        default:
            let store = ByteStore(capacity: values.count * 16)
            let refusals = Refusals()
            let ends = encodeAside(values, column.format, into: store, refusals)
            for refusal in refusals.list { refuse(refusal.row, refusal.code, column, refusal.reason) }
            return .aside(store, ends: ends)
        }
    }

    private static func map<A, B>(_ values: Values<A>, _ transform: (A) -> B) -> Values<B> {
        values.withUnsafeBufferPointer { source in
            Values(count: source.count) { target in
                for i in 0..<source.count { target[i] = transform(source[i]) }
            }
        }
    }

    /// Minus zero equals zero and every NaN equals every other in an index: one bit pattern for each, so that keys can
    /// be compared by their bytes.
    private static func canonical<F: BinaryFloatingPoint & BitwiseCopyable & Sendable>(_ values: Values<F>) -> Values<F>
    {
        map(values) { $0.isNaN ? F.nan : $0 == 0 ? 0 : $0 }
    }

    // MARK: Ranges

    private mutating func checkIntegers(
        _ values: Column, _ column: PgColumn, _ range: ClosedRange<Int64>, _ type: String
    ) {
        func check<T: FixedWidthInteger & BitwiseCopyable & Sendable>(_ integers: Values<T>) {
            integers.withUnsafeBufferPointer { integers in
                for row in 0..<integers.count where !range.contains(Int64(integers[row])) && !values.isNull(row) {
                    refuse(row, "value_out_of_range", column, "\(integers[row]) is out of the range of \(type)")
                }
            }
        }
        if let integers = values.int32Values {
            check(integers)
        } else if let integers = values.int64Values {
            check(integers)
        }
    }

    private mutating func narrowed(_ doubles: Values<Double>, _ validity: Bitmap?, _ column: PgColumn) -> Values<Float>
    {
        let floats = ValuePreparation.map(doubles) { Float($0) }
        doubles.withUnsafeBufferPointer { doubles in
            floats.withUnsafeBufferPointer { floats in
                for row in 0..<doubles.count
                where (floats[row].isInfinite != doubles[row].isInfinite || floats[row] == 0 && doubles[row] != 0)
                    && validity?[row] != false
                {
                    refuse(row, "value_out_of_range", column, "\(doubles[row]) is out of the range of real")
                }
            }
        }
        return column.isKey ? ValuePreparation.canonical(floats) : floats
    }

    /// 4713-01-01 BC up to, but not including, 294277-01-01, in microseconds since 1970
    /// (`MIN_TIMESTAMP`, `END_TIMESTAMP` in src/include/datatype/timestamp.h).
    private static let timestamps: Range<Int64> =
        -211_813_488_000_000_000 + PreparedColumn.epochMicroseconds..<9_223_371_331_200_000_000

    /// 4713-01-01 BC up to, but not including, 5874898-06-03, in days since 1970 (`IS_VALID_DATE`).
    private static let dates: Range<Int32> = -2_451_545 + PreparedColumn.epochDays..<2_145_031_949

    private static func isTimestamp(_ time: Int64) -> Bool {
        timestamps.lowerBound <= time && time < timestamps.upperBound
    }

    private mutating func checkTimestamps(_ times: Values<Int64>, _ validity: Bitmap?, _ column: PgColumn) {
        times.withUnsafeBufferPointer { times in
            for row in 0..<times.count where !ValuePreparation.isTimestamp(times[row]) && validity?[row] != false {
                refuse(row, "value_out_of_range", column, ValuePreparation.timestampReason(times[row]))
            }
        }
    }

    private static func timestampReason(_ time: Int64) -> String {
        "\(time) µs since 1970 is out of the range of timestamp with time zone"
    }

    private mutating func checkDates(_ days: Values<Int32>, _ validity: Bitmap?, _ column: PgColumn) {
        days.withUnsafeBufferPointer { days in
            for row in 0..<days.count where !ValuePreparation.dates.contains(days[row]) && validity?[row] != false {
                refuse(row, "value_out_of_range", column, "\(days[row]) days since 1970 is out of the range of date")
            }
        }
    }

    // MARK: Text

    private mutating func checkText(_ storage: ViewStorage, _ validity: Bitmap?, _ column: PgColumn) {
        storage.withUnsafeViews { views in
            for row in 0..<views.count where ValuePreparation.hasZero(views, row) && validity?[row] != false {
                refuse(row, "zero_character", column, ValuePreparation.zeroReason)
            }
        }
    }

    private static let zeroReason = "the text holds the character U+0000, which PostgreSQL cannot store"

    /// Whether a byte of the text is zero. Inline texts are tested as two words: the well-known test for a zero byte in
    /// a word, with the unused bytes set to one.
    @inline(__always)
    private static func hasZero(_ views: UnsafeViews, _ row: Int) -> Bool {
        let view = views[row]
        let length = Int(view.length)
        if length <= 12 {
            let first = UInt64(view.word1) | UInt64(view.word2) << 32
            let second = UInt64(view.word3)
            let ones: UInt64 = 0x0101_0101_0101_0101
            let low = length >= 8 ? first : first | ones << UInt64(length * 8)
            let high =
                length >= 12 ? second | ones << 32 : length <= 8 ? ones : second | ones << UInt64(length * 8 - 64)
            func zero(_ word: UInt64) -> UInt64 { (word &- ones) & ~word & 0x8080_8080_8080_8080 }
            return zero(low) | zero(high) != 0
        }
        return contains(views.bytes(row), 0)
    }

    private static func contains(_ bytes: UnsafeRawBufferPointer, _ byte: UInt8) -> Bool {
        guard let base = bytes.baseAddress else { return false }
        return memchr(base, Int32(byte), bytes.count) != nil
    }

    // MARK: Aside

    /// Collects what is refused while values are encoded aside.
    private final class Refusals {
        var list: [RowRefusal] = []
        func callAsFunction(_ row: Int, _ code: String, _ reason: String) {
            list.append(RowRefusal(row: row, code: code, reason: reason))
        }
    }

    /// Encodes every value with its length in front (minus one for null) and returns where each ends.
    private func encodeAside(
        _ values: Column, _ format: PgFormat, into store: ByteStore, _ refuse: Refusals
    ) -> [Int] {
        var ends: [Int] = []
        ends.reserveCapacity(values.count)
        let validity = values.validity
        func each(_ body: (Int) -> Void) {
            for row in 0..<values.count {
                if validity?[row] == false { store.append(bigEndian: Int32(-1)) } else { body(row) }
                ends.append(store.count)
            }
        }
        func fixed<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
            store.append(bigEndian: Int32(MemoryLayout<T>.size))
            store.append(bigEndian: value)
        }
        func integers<T: FixedWidthInteger & BitwiseCopyable & Sendable>(_ source: Values<T>) {
            switch format {
            case .int2:
                each { row in
                    if Int16(exactly: source[row]) == nil {
                        refuse(row, "value_out_of_range", "\(source[row]) is out of the range of smallint")
                    }
                    fixed(Int16(truncatingIfNeeded: source[row]))
                }
            case .int4:
                each { row in
                    if Int32(exactly: source[row]) == nil {
                        refuse(row, "value_out_of_range", "\(source[row]) is out of the range of integer")
                    }
                    fixed(Int32(truncatingIfNeeded: source[row]))
                }
            case .int8: each { fixed(Int64(source[$0])) }
            case .float8: each { fixed(Double(source[$0]).bitPattern) }
            case .numeric: each { NumericEncoding.append(Int128(source[$0]), scale: 0, to: store) }
            default: preconditionFailure("an integer is not written as \(format)")
            }
        }
        switch (format, values.storage) {
        case (.timestamp, .int64(let times)):
            each { row in
                if !ValuePreparation.isTimestamp(times[row]) {
                    refuse(row, "value_out_of_range", ValuePreparation.timestampReason(times[row]))
                }
                fixed(times[row] &- PreparedColumn.epochMicroseconds)
            }
        case (.date, .int32(let days)):
            each { row in
                if !ValuePreparation.dates.contains(days[row]) {
                    refuse(row, "value_out_of_range", "\(days[row]) days since 1970 is out of the range of date")
                }
                fixed(days[row] &- PreparedColumn.epochDays)
            }
        case (_, .int32(let source)): integers(source)
        case (_, .int64(let source)): integers(source)
        case (.bool, .bool(let bits)): each { fixed(UInt8(bits[$0] ? 1 : 0)) }
        case (.float4, .float32(let floats)): each { fixed(floats[$0].bitPattern) }
        case (.float4, .float64(let doubles)):
            each { row in
                let float = Float(doubles[row])
                if float.isInfinite != doubles[row].isInfinite || float == 0 && doubles[row] != 0 {
                    refuse(row, "value_out_of_range", "\(doubles[row]) is out of the range of real")
                }
                fixed(float.bitPattern)
            }
        case (.float8, .float32(let floats)): each { fixed(Double(floats[$0]).bitPattern) }
        case (.float8, .float64(let doubles)): each { fixed(doubles[$0].bitPattern) }
        case (.numeric, .float32(let floats)): each { NumericEncoding.append(floats[$0], to: store) }
        case (.numeric, .float64(let doubles)): each { NumericEncoding.append(doubles[$0], to: store) }
        case (.numeric, .decimal(let decimals)):
            guard case .decimal(_, let scale) = values.type else { preconditionFailure("a decimal has a scale") }
            each { NumericEncoding.append(decimals[$0], scale: scale, to: store) }
        case (.array(let element, let oid), .list(let offsets, let elements)):
            encodeArrays(offsets, elements, element, oid, into: store, each, refuse)
        case (_, .view(let storage)):
            storage.withUnsafeViews { views in
                encodeText(views, format, into: store, each, refuse)
            }
        case (.json, _), (.jsonb, _):
            encodeJSON(values, format, into: store, each, refuse)
        default: preconditionFailure("\(values.type) is not written as \(format)")
        }
        return ends
    }

    private func encodeText(
        _ views: UnsafeViews, _ format: PgFormat, into store: ByteStore, _ each: ((Int) -> Void) -> Void,
        _ refuse: Refusals
    ) {
        each { row in
            let bytes = views.bytes(row)
            if format != .bytea, ValuePreparation.hasZero(views, row) {
                refuse(row, "zero_character", ValuePreparation.zeroReason)
            }
            switch format {
            case .uuid:
                store.append(bigEndian: Int32(16))
                if let uuid = ValuePreparation.uuid(bytes) {
                    store.append(bigEndian: uuid)
                } else {
                    let text = String(decoding: bytes.prefix(60), as: UTF8.self)
                    refuse(row, "invalid_uuid", "“\(text)” is not a UUID")
                    store.append(bigEndian: UInt128(0))
                }
            case .jsonb:
                store.append(bigEndian: Int32(truncatingIfNeeded: bytes.count + 1))
                store.append(bigEndian: UInt8(1))
                store.append(bytes)
            default:
                store.append(bigEndian: Int32(truncatingIfNeeded: bytes.count))
                store.append(bytes)
            }
        }
    }

    private func encodeJSON(
        _ values: Column, _ format: PgFormat, into store: ByteStore, _ each: ((Int) -> Void) -> Void,
        _ refuse: Refusals
    ) {
        let cell = JSONCell.make(values.type)
        cell.prepare(values)
        let mayHoldZero = ValuePreparation.holdsZero(values)
        var text = TextBuffer()
        each { row in
            text.removeAll()
            cell.write(row, into: &text)
            text.withUnsafeBytes { json in
                if mayHoldZero, ValuePreparation.holdsEscapedZero(json) {
                    refuse(row, "zero_character", ValuePreparation.zeroReason)
                }
                store.append(bigEndian: Int32(truncatingIfNeeded: json.count + (format == .jsonb ? 1 : 0)))
                if format == .jsonb { store.append(bigEndian: UInt8(1)) }
                store.append(json)
            }
        }
    }

    /// Whether a text anywhere in the column has a zero byte.
    private static func holdsZero(_ column: Column) -> Bool {
        switch column.storage {
        case .view(let storage): storage.withUnsafeViews { views in (0..<views.count).contains { hasZero(views, $0) } }
        case .list(_, let elements): holdsZero(elements)
        case .structure(let members): members.contains(where: holdsZero)
        case .bool, .int32, .int64, .float32, .float64, .decimal: false
        }
    }

    /// Whether JSON text has the escape `\u0000` (and not an escaped backslash in front of `u0000`).
    private static func holdsEscapedZero(_ json: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < json.count {
            guard json[index] == UInt8(ascii: "\\") else {
                index += 1
                continue
            }
            if index + 5 < json.count, json[index + 1] == UInt8(ascii: "u"),
                json[index + 2..<index + 6].allSatisfy({ $0 == UInt8(ascii: "0") })
            {
                return true
            }
            index += 2
        }
        return false
    }

    /// 32 hexadecimal digits, hyphens between them ignored, braces around them allowed.
    private static func uuid(_ bytes: UnsafeRawBufferPointer) -> UInt128? {
        var value: UInt128 = 0
        var digits = 0
        for (index, byte) in bytes.enumerated() {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            case UInt8(ascii: "-") where digits > 0 && digits % 4 == 0: continue
            case UInt8(ascii: "{") where index == 0: continue
            case UInt8(ascii: "}") where index == bytes.count - 1 && bytes.first == UInt8(ascii: "{"): continue
            default: return nil
            }
            digits += 1
            if digits > 32 { return nil }
            value = value << 4 | UInt128(digit)
        }
        return digits == 32 ? value : nil
    }

    /// One-dimensional arrays (`array_recv`): dimensions, whether nulls occur, the elements' type, length and lower
    /// bound, then the elements. The elements of all rows are encoded together; each row copies its own.
    private func encodeArrays(
        _ offsets: Values<Int32>, _ elements: Column, _ format: PgFormat, _ oid: UInt32, into store: ByteStore,
        _ each: ((Int) -> Void) -> Void, _ refuse: Refusals
    ) {
        let encoded = ByteStore(capacity: elements.count * 12)
        let bad = Refusals()
        let ends = encodeAside(elements, format, into: encoded, bad)
        var nextBad = 0
        each { row in
            let first = Int(offsets[row])
            let last = Int(offsets[row + 1])
            // Both are in order; elements under a null row are passed over.
            while nextBad < bad.list.count, bad.list[nextBad].row < first { nextBad += 1 }
            if nextBad < bad.list.count, bad.list[nextBad].row < last {
                let found = bad.list[nextBad]
                refuse(row, found.code, "element \(found.row - first): \(found.reason)")
            }
            let bytes = first == last ? 0..<0 : (first == 0 ? 0 : ends[first - 1])..<ends[last - 1]
            let hasNull = elements.validity.map { $0.slice(first..<last).setCount < last - first } ?? false
            store.append(bigEndian: Int32(first == last ? 12 : 20 + bytes.count))
            store.append(bigEndian: Int32(first == last ? 0 : 1))
            store.append(bigEndian: Int32(hasNull ? 1 : 0))
            store.append(bigEndian: oid)
            guard first < last else { return }
            store.append(bigEndian: Int32(last - first))
            store.append(bigEndian: Int32(1))
            store.append(encoded[bytes])
        }
    }
}
