// How fast expressions are on one core, in nanoseconds a row. Checks its answers against plain Swift.
//
//     swift run -c release bench-expression [batches]
import DataflowColumnar
import DataflowExpression
import Glibc

/// Processor time: the machine may be busy with other things.
func threadNanoseconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

struct Random {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
    mutating func next(below limit: Int) -> Int { Int(next() % UInt64(limit)) }
}

let batchCount = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 500
let rowCount = RecordBatch.defaultRowCount
let grades = ["a", "b", "c", "d", "e", "unknown", "not-applicable"]
let tags = [
    "en:salty-snacks", "en:plant-based-foods-and-beverages", "fr:biscuits", "de:kekse", "en:null", "undefined", "xx",
]
var random = Random(state: 1)

let schema = Schema([
    Field("a", .int64), Field("b", .int64), Field("x", .float64), Field("grade", .string), Field("tag", .string),
    Field("tags", .list(.string)), Field("ts", .timestamp),
    Field("nutriments", .list(.structure([Field("name", .string), Field("value", .float64)]))),
])
let rows: [[Value]] = (0..<rowCount).map { row in
    [
        .int(Int64(random.next(below: 1000)) - 500), row % 10 == 0 ? .null : .int(Int64(random.next(below: 100) + 1)),
        .float(Double(random.next(below: 10000)) / 7),
        row % 3 == 0 ? .null : .string(grades[random.next(below: grades.count)]),
        .string(tags[random.next(below: tags.count)]),
        .list((0..<random.next(below: 5)).map { _ in .string(tags[random.next(below: tags.count)]) }),
        .timestamp(1_700_000_000_000_000 + Int64(random.next(below: 1_000_000_000))),
        .list(
            ["energy", "fat", "sugars", "salt"].prefix(random.next(below: 5)).map {
                .structure([.string($0), .float(Double(random.next(below: 100)))])
            }),
    ]
}
let batch = RecordBatch(schema, rows: rows)

func withoutPrefix(_ text: String) -> String {
    guard let colon = text.firstIndex(of: ":") else { return text }
    let prefix = text[..<colon]
    return (2...3).contains(prefix.count) && prefix.allSatisfy { ("a"..."z").contains($0) }
        ? String(text[text.index(after: colon)...]) : text
}

/// The expression, and what it should be for a row.
let cases: [(String, ([Value]) -> Value)] = [
    ("a + 1", { row in if case .int(let a) = row[0] { .int(a + 1) } else { .null } }),
    ("a * 2 + b", { row in if case (.int(let a), .int(let b)) = (row[0], row[1]) { .int(a * 2 + b) } else { .null } }),
    ("a / b", { row in if case (.int(let a), .int(let b)) = (row[0], row[1]) { .int(a / b) } else { .null } }),
    ("x * 1.5 > 500", { row in if case .float(let x) = row[2] { .bool(x * 1.5 > 500) } else { .null } }),
    (
        "a > 0 and b < 50",
        { row in
            guard case .int(let a) = row[0] else { return .null }
            guard a > 0 else { return false }
            if case .int(let b) = row[1] { return .bool(b < 50) }
            return .null
        }
    ),
    ("tag = 'en:salty-snacks'", { row in .bool(row[4] == "en:salty-snacks") }),
    (
        "tag not in ('undefined', 'null', 'en:undefined', 'en:null', '')",
        { row in
            .bool(!["undefined", "null", "en:undefined", "en:null", ""].contains(row[4]))
        }
    ),
    ("tag like 'en:%'", { row in if case .string(let s) = row[4] { .bool(s.hasPrefix("en:")) } else { .null } }),
    (
        "tag like '%and%'",
        { row in
            guard case .string(let s) = row[4] else { return .null }
            return .bool(s.split(separator: "-").contains("and"))
        }
    ),
    ("upper(tag)", { row in if case .string(let s) = row[4] { .string(s.uppercased()) } else { .null } }),
    ("length(tag)", { row in if case .string(let s) = row[4] { .int(Int64(s.count)) } else { .null } }),
    ("substr(tag, 4)", { row in if case .string(let s) = row[4] { .string(String(s.dropFirst(3))) } else { .null } }),
    (
        "split_part(tag, ':', 1)",
        { row in
            if case .string(let s) = row[4] { .string(String(s.prefix { $0 != ":" })) } else { .null }
        }
    ),
    ("tag || '/' || tag", { row in if case .string(let s) = row[4] { .string(s + "/" + s) } else { .null } }),
    (
        "regexp_replace(tag, '^[a-z]{2,3}:', '')",
        { row in
            if case .string(let s) = row[4] { .string(withoutPrefix(s)) } else { .null }
        }
    ),
    // The same through RE2: the brackets make the pattern too hard for the fast path.
    (
        "regexp_replace(tag, '^([a-z]{2,3}):', '')",
        { row in
            if case .string(let s) = row[4] { .string(withoutPrefix(s)) } else { .null }
        }
    ),
    (
        "regexp_like(tag, 'foods?')",
        { row in
            if case .string(let s) = row[4] { .bool(s.split(separator: "-").contains("foods")) } else { .null }
        }
    ),
    (
        "case when lower(grade) in ('a','b','c','d','e') then upper(grade) else 'UNKNOWN' end",
        { row in
            if case .string(let s) = row[3], s.count == 1 { .string(s.uppercased()) } else { "UNKNOWN" }
        }
    ),
    ("cast(a as string)", { row in if case .int(let a) = row[0] { .string("\(a)") } else { .null } }),
    ("cast(cast(a as string) as int64)", { row in row[0] }),
    ("tags[0]", { row in if case .list(let list) = row[5] { list.first ?? .null } else { .null } }),
    (
        "filter(nutriments, n -> n.name = 'sugars')[0].value",
        { row in
            guard case .list(let list) = row[7] else { return .null }
            for case .structure(let members) in list where members[0] == "sugars" { return members[1] }
            return .null
        }
    ),
    (
        "transform(tags, t -> regexp_replace(t, '^[a-z]{2,3}:', ''))",
        { row in
            guard case .list(let list) = row[5] else { return .null }
            return .list(list.map { if case .string(let s) = $0 { .string(withoutPrefix(s)) } else { .null } })
        }
    ),
    (
        "date_trunc('minute', ts)",
        { row in
            if case .timestamp(let t) = row[6] { .timestamp(t - t % 60_000_000) } else { .null }
        }
    ),
    (
        "extract(day from ts)",
        { row in
            if case .timestamp(let t) = row[6] { .int(t < 1_700_006_400_000_000 ? 14 : 15) } else { .null }
        }
    ),
]

func right(_ text: String, _ count: Int) -> String { String(repeating: " ", count: max(0, count - text.count)) + text }

var failures = 0
for (text, expected) in cases {
    let compiled = try Expression.compile(text, schema: schema)
    let (column, errors) = compiled.evaluate(batch)
    let isRight = errors.isEmpty && rows.indices.allSatisfy { column.value(at: $0) == expected(rows[$0]) }
    if !isRight { failures += 1 }
    var best = Double.infinity
    for _ in 0..<3 {
        let start = threadNanoseconds()
        for _ in 0..<batchCount { _ = compiled.evaluate(batch, now: 0) }
        best = min(best, threadNanoseconds() - start)
    }
    let perRow = (best / Double(batchCount * rowCount) * 100).rounded() / 100
    print("\(right("\(perRow)", 8)) ns/row  \(isRight ? "  " : "✗ ")\(text)")
}
if failures > 0 {
    print("\(failures) answers are wrong")
    throw ExpressionError(offset: 0, "wrong answers")
}
