import DataflowColumnar
import Testing

@testable import DataflowExpression

/// A few rows of every type, with nulls, that the tables of the tests compute over.
enum Sample {
    static let product = DataType.structure([Field("name", .string), Field("price", .float64)])

    static let schema = Schema([
        Field("i", .int64), Field("j", .int32), Field("x", .float64), Field("f", .float32),
        Field("d", .decimal(precision: 10, scale: 2)), Field("s", .string), Field("b", .bool), Field("raw", .bytes),
        Field("ts", .timestamp), Field("day", .date), Field("tags", .list(.string)), Field("numbers", .list(.int64)),
        Field("p", product), Field("items", .list(product)), Field("order", .string), Field("Mixed Case", .int64),
        Field("required", .int64, nullable: false),
    ])

    static let rows: [[Value]] = [
        [
            7, 3, 1.5, 0.25, .decimal(1250, scale: 2), "Hello", true, .bytes([1, 2, 255]),
            .timestamp(1_714_566_896_789_000), .date(19844), ["en:snacks", "fr:sucre", nil], [3, 1, nil, 2],
            .structure(["tea", 2.5]),
            [.structure(["a", 1.0]), .structure(["b", nil]), nil], "first", 11, 1,
        ],
        [
            -4, 100, -2.25, 8.0, .decimal(-5, scale: 2), "straße and more text", false, .bytes([]),
            .timestamp(-1), .date(-1), [], [], .structure([nil, 0.0]), [], "second", 12, 2,
        ],
        [nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, 3],
        [
            0, 0, 0.0, 0.0, .decimal(0, scale: 2), "", true, .bytes([104, 105]), .timestamp(0), .date(0), ["x"], [5],
            .structure(["", nil]), [.structure(["only", 9.5])], "third", 13, 4,
        ],
    ]

    static let batch = RecordBatch(schema, rows: rows)

    /// The value of an expression that needs no columns.
    static func value(_ text: String) throws -> Value {
        let compiled = try Expression.compile(text, schema: schema)
        let (column, errors) = compiled.evaluate(batch.slice(0..<1))
        if let failure = errors.rows.first { throw failure.error }
        return column.value(at: 0)
    }

    /// The values for all rows; the error's code stands for a row that failed.
    static func values(_ text: String) throws -> [Value] {
        let compiled = try Expression.compile(text, schema: schema)
        let (column, errors) = compiled.evaluate(batch, now: 1_000_000)
        #expect(column.count == batch.rowCount)
        #expect(column.type == compiled.type)
        let failed = Dictionary(uniqueKeysWithValues: errors.rows.map { ($0.row, $0.error) })
        return (0..<batch.rowCount).map { row in
            failed[row].map { .string("!\($0.code.rawValue)") } ?? column.value(at: row)
        }
    }

    /// The errors of checking a text: `offset: message; hint` one a line.
    static func errors(_ text: String) -> String {
        do throws(ExpressionErrors) {
            let typed = try Expression.parse(text).check(schema)
            return "no error, type \(typed.type)"
        } catch {
            return error.description
        }
    }
}
