extension Duration: ConfigValue {
    public static var typeName: String { "duration" }
    public static var jsonSchema: JSONSchema {
        .scalar(
            "string", pattern: "^([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$|\\$\\{",
            examples: ["10s", "500ms", "1h30m"])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let expected = "a duration with its unit, such as `10s` or `500ms`"
        let text = try node.scalarText(expected: expected)
        switch Quantity.parse(text, units: Self.units) {
        case .success(let nanoseconds):
            self = .nanoseconds(nanoseconds)
        case .failure(.bareNumber):
            throw .expected(
                expected, found: node,
                hint: "a bare number has no unit: `\(text)s` is seconds, `\(text)ms` milliseconds")
        case .failure(.unknownUnit(let unit)):
            throw .expected(expected, found: node, hint: "`\(unit)` is no unit of time: ns, us, ms, s, m, h, d")
        case .failure(.malformed):
            throw .expected(expected, found: node, hint: text.hasPrefix("-") ? "it must not be negative" : nil)
        case .failure(.tooLarge): throw .expected("a duration of less than 292 years", found: node)
        }
    }

    private static let units: [(String, Int64)] = [
        ("ns", 1), ("us", 1_000), ("µs", 1_000), ("μs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000),
        ("m", 60_000_000_000), ("h", 3_600_000_000_000), ("d", 86_400_000_000_000),
    ]

    public var encoded: ConfigNode { .text(unitDescription) }

    /// The duration as a setting writes it: `10s`, `1h30m`, `500ms`. Exact to the nanosecond.
    public var unitDescription: String {
        let (seconds, attoseconds) = components
        var rest = seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue + attoseconds / 1_000_000_000
        guard rest != 0 else { return "0s" }
        var text = rest < 0 ? "-" : ""
        rest = abs(rest)
        for (unit, size) in [("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000)]
            as [(String, Int64)]
        {
            if rest >= size { text += "\(rest / size)\(unit)" }
            rest %= size
        }
        for (unit, size) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)] as [(String, Int64)]
        where rest >= size {
            text += "\(rest / size)\(unit)"
            rest %= size
        }
        return text
    }

    /// For messages: to the millisecond, such as `6s156ms`.
    package var roundedDescription: String { Duration.milliseconds(nanoseconds / 1_000_000).unitDescription }

    /// The whole nanoseconds of the duration; saturates at 292 years.
    public var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? (seconds < 0 ? .min : .max) : product + attoseconds / 1_000_000_000
    }

    /// The duration in seconds.
    public var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}

/// A number of bytes, written with its unit: `64MiB`, `10kB`.
public struct ByteSize: ConfigValue, Hashable, Comparable, CustomStringConvertible {
    public var bytes: Int

    public init(bytes: Int) { self.bytes = bytes }

    public static func kibibytes(_ count: Int) -> ByteSize { ByteSize(bytes: count << 10) }
    public static func mebibytes(_ count: Int) -> ByteSize { ByteSize(bytes: count << 20) }
    public static func gibibytes(_ count: Int) -> ByteSize { ByteSize(bytes: count << 30) }

    public static func < (a: ByteSize, b: ByteSize) -> Bool { a.bytes < b.bytes }

    public static var typeName: String { "byte size" }
    public static var jsonSchema: JSONSchema {
        .scalar("string", pattern: "^[0-9]+(\\.[0-9]+)?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$|\\$\\{", examples: ["64MiB"])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let expected = "a size with its unit, such as `64MiB` or `512KiB`"
        let text = try node.scalarText(expected: expected)
        switch Quantity.parse(text, units: Self.units) {
        case .success(let bytes): self.bytes = Int(bytes)
        case .failure(.bareNumber):
            throw .expected(
                expected, found: node, hint: "a bare number has no unit: `\(text)B` is bytes, `\(text)MiB` mebibytes")
        case .failure(.unknownUnit(let unit)):
            let meant = Self.units.first { $0.0.lowercased() == unit.lowercased() || $0.0.first == unit.first }
            throw .expected(
                expected, found: node,
                hint: "`\(unit)` is no unit of size\(meant.map { "; did you mean `\($0.0)`?" } ?? "")")
        case .failure(.malformed): throw .expected(expected, found: node)
        case .failure(.tooLarge): throw .expected("a size of less than 8EiB", found: node)
        }
    }

    private static let units: [(String, Int64)] = [
        ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("kB", 1_000), ("KB", 1_000),
        ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
    ]

    public var encoded: ConfigNode { .text(description) }

    public var description: String {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)]
        where bytes != 0 && bytes & ((1 << shift) - 1) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)B"
    }

    /// For people: `1.2GiB`, `312MiB`, `96KiB`.
    public var roundedDescription: String {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] where bytes >> shift > 0 {
            let tenths = ((bytes >> (shift - 10)) * 10) >> 10
            return tenths < 100 && tenths % 10 != 0 ? "\(tenths / 10).\(tenths % 10)\(unit)" : "\(tenths / 10)\(unit)"
        }
        return "\(bytes)B"
    }
}

/// How often something may happen: `30/min`, `5/s`, `1/10s`.
public struct Rate: ConfigValue, Hashable, CustomStringConvertible {
    public var count: Int
    public var per: Duration

    public init(_ count: Int, per: Duration) {
        self.count = count
        self.per = per
    }

    /// The time from one event to the next when they are evenly spaced.
    public var interval: Duration { per / count }

    /// Events a second.
    public var perSecond: Double { Double(count) / per.inSeconds }

    public static var typeName: String { "rate" }
    public static var jsonSchema: JSONSchema {
        .scalar(
            "string", pattern: "^[0-9]+/([0-9.]*)(ns|us|ms|s|sec|second|m|min|minute|h|hour|d|day)$|\\$\\{",
            examples: ["30/min"])
    }

    private static let names: [String: String] = [
        "s": "1s", "sec": "1s", "second": "1s", "m": "1m", "min": "1m", "minute": "1m", "h": "1h", "hour": "1h",
        "d": "1d",
        "day": "1d", "ms": "1ms",
    ]

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let expected = "a rate, such as `30/min` or `5/s`"
        let text = try node.scalarText(expected: expected)
        let sides = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map {
            String($0).trimmingBlanks
        }
        if sides.count == 1, Int(text) != nil {
            throw .expected(
                expected, found: node,
                hint: "a bare number has no unit: `\(text)/s` is events a second, `\(text)/min` a minute")
        }
        guard sides.count == 2, let count = Int(sides[0]), count > 0 else { throw .expected(expected, found: node) }
        let time = Self.names[sides[1]] ?? sides[1]
        guard let per = try? Duration(decoding: .text(time)), per > .zero else {
            throw .expected(
                expected, found: node, hint: "`\(sides[1])` is no unit of time: s, min, h, d, or a duration such as 10s"
            )
        }
        self.init(count, per: per)
    }

    public var encoded: ConfigNode { .text(description) }

    public var description: String {
        let unit: String =
            switch per {
            case .seconds(1): "s"
            case .seconds(60): "min"
            case .seconds(3_600): "h"
            case .seconds(86_400): "d"
            default: per.unitDescription
            }
        return "\(count)/\(unit)"
    }
}

extension String {
    var trimmingBlanks: String {
        var text = drop { $0 == " " }
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}

/// Numbers with units in a row: `1h30m`.
private enum Quantity {
    enum Failure: Error {
        case bareNumber, malformed, tooLarge
        case unknownUnit(String)
    }

    /// The sum in the smallest unit; fractions are exact to it (`1.5s`), finer ones are rounded down.
    static func parse(_ text: String, units: [(String, Int64)]) -> Result<Int64, Failure> {
        var rest = Substring(text.trimmingBlanks)
        guard !rest.isEmpty else { return .failure(.malformed) }
        var total: Int64 = 0
        while !rest.isEmpty {
            let number = rest.prefix { "0"..."9" ~= $0 || $0 == "." }
            rest = rest.dropFirst(number.count)
            let digits = number.split(separator: ".", omittingEmptySubsequences: false)
            guard digits.count <= 2, let whole = digits.first, !whole.isEmpty else { return .failure(.malformed) }
            if digits.count == 2, digits[1].isEmpty { return .failure(.malformed) }
            while rest.first == " " { rest.removeFirst() }
            let unit = String(rest.prefix { !("0"..."9" ~= $0) && $0 != " " && $0 != "." })
            rest = rest.dropFirst(unit.count)
            while rest.first == " " { rest.removeFirst() }
            if unit.isEmpty { return .failure(total == 0 && rest.isEmpty ? .bareNumber : .malformed) }
            guard let size = units.first(where: { $0.0 == unit })?.1 else { return .failure(.unknownUnit(unit)) }
            guard let count = Int64(whole) else { return .failure(.tooLarge) }
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            guard !overflow else { return .failure(.tooLarge) }
            var fraction: Int64 = 0
            if digits.count == 2 {
                var step = Double(size) / 10
                var sum = 0.0
                for digit in digits[1] {
                    sum += Double(digit.wholeNumberValue ?? 0) * step
                    step /= 10
                }
                fraction = Int64(sum.rounded())
            }
            let (sum, sumOverflow) = total.addingReportingOverflow(product)
            guard !sumOverflow, !sum.addingReportingOverflow(fraction).overflow else { return .failure(.tooLarge) }
            total = sum + fraction
        }
        return .success(total)
    }
}
