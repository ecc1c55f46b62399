import DataflowColumnar
import DataflowExpression

/// Kernels of expressions; their answers are checked in the tests, here only that they stay the same.
enum ExpressionCases {
    static var all: [() throws -> MicroCase] {
        [
            "a * 2 + b", "x * 1.5 > 500", "a > 0 and b < 50", "tag = 'en:salty-snacks'", "tag like '%and%'",
            "upper(tag)",
            "regexp_replace(tag, '^[a-z]{2,3}:', '')",
            "case when grade in ('a','b') then upper(grade) else 'UNKNOWN' end",
            "date_trunc('minute', ts)", "tags[0]",
        ].map { text in { try make(text) } }
    }

    private static let schema = Schema([
        Field("a", .int64), Field("b", .int64), Field("x", .float64), Field("grade", .string), Field("tag", .string),
        Field("tags", .list(.string)), Field("ts", .timestamp),
    ])
    private static let grades = ["a", "b", "c", "d", "e", "unknown", "not-applicable"]
    private static let tags = [
        "en:salty-snacks", "en:plant-based-foods-and-beverages", "fr:biscuits", "de:kekse", "en:null", "xx",
    ]

    private static let batch: RecordBatch = {
        var random = Random(state: 1)
        return RecordBatch(schema, rows: (0..<Events.rowCount).map { row($0, &random) })
    }()

    private static func row(_ number: Int, _ random: inout Random) -> [Value] {
        let a = Value.int(Int64(random.next(below: 1000)) - 500)
        let b = number % 10 == 0 ? Value.null : .int(Int64(number % 100 + 1))
        let grade = number % 3 == 0 ? Value.null : .string(grades[random.next(below: grades.count)])
        let list = (0..<random.next(below: 5)).map { _ in Value.string(tags[random.next(below: tags.count)]) }
        let time = Value.timestamp(1_700_000_000_000_000 + Int64(random.next(below: 1_000_000_000)))
        let tag = Value.string(tags[random.next(below: tags.count)])
        return [a, b, .float(Double(random.next(below: 10000)) / 7), grade, tag, .list(list), time]
    }

    private static func make(_ text: String) throws -> MicroCase {
        let batch = batch
        let expression = try Expression.compile(text, schema: batch.schema)
        let (column, errors) = expression.evaluate(batch)
        guard errors.isEmpty, column.count == batch.rowCount else {
            throw WrongAnswer(description: "\(text): \(column.count) values")
        }
        return MicroCase(
            name: "expression \(text)", unit: "row", units: batch.rowCount,
            body: { expression.evaluate(batch, now: 0).0.byteCount }, expected: column.byteCount)
    }
}
