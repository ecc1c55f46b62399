import DataflowColumnar
import Testing

@testable import DataflowExpression

/// What no input may do: crash.
@Suite struct HardeningTests {
    private static let pieces = [
        "a", "b", "s", "tags", "items", "p", "ts", "d", "1", "0", "-1", "1.5", "'x'", "'", "\"", "(", ")", "[", "]",
        ",", ".", "+", "-",
        "*", "/", "%", "=", "<", ">", "<>", "||", "::", "->", "and", "or", "not", "is", "null", "in", "like", "between",
        "case", "when",
        "then", "else", "end", "cast(", "as", "int64", "string", "list<", "struct(", "filter(", "x", "lower(",
        "coalesce(", "interval '1 s'",
        "date '2024-01-01'", "extract(", "year", "from", "substr(", "ö", "--", "/*", "*/", "regexp_like(", "distinct",
        "escape", "\u{0}", "$", " ",
    ]

    @Test(arguments: 0..<10)
    func `texts put together at random are read or refused`(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<2000 {
            let count = Int.random(in: 1..<16, using: &random)
            let text = (0..<count).map { _ in HardeningTests.pieces.randomElement(using: &random) ?? "" }
                .joined(separator: Bool.random(using: &random) ? " " : "")
            do throws(ExpressionErrors) {
                let expression = try Expression.parse(text)
                #expect((try? Expression.parse(expression.description)) == expression, "seed \(seed): \(text)")
                let compiled = try expression.check(Sample.schema).compiled()
                _ = compiled.evaluate(Sample.batch)
            } catch {
                #expect(!error.errors.isEmpty)
            }
            _ = try? DataType.parse(text)
            _ = try? AggregateCall.parse(text)
            _ = try? OrderItem.parse(text)
        }
    }

    /// A batch whose values under nulls are the worst that can stand there.
    static let garbage: RecordBatch = {
        let rows = Sample.batch.rowCount
        let hidden = Bitmap(repeating: false, count: rows)
        let columns = Sample.schema.fields.map { field -> Column in
            let worst: Column
            switch field.type {
            case .int32, .date: worst = Column(field.type, .int32(Values(repeating: .min, count: rows)))
            case .int64, .timestamp: worst = Column(field.type, .int64(Values(repeating: .min, count: rows)))
            case .float32: worst = Column(field.type, .float32(Values(repeating: .nan, count: rows)))
            case .float64: worst = Column(field.type, .float64(Values(repeating: -.infinity, count: rows)))
            case .decimal: worst = Column(field.type, .decimal(Values(repeating: .min, count: rows)))
            case .string, .bytes:
                worst = Column.bytes(Array(repeating: [0xFF, 0xC3, 0x28, 0xE2], count: rows)).reinterpreted(
                    as: field.type)
            default: worst = Sample.batch[field.name] ?? .nulls(field.type, count: rows)
            }
            return worst.withValidity(hidden)
        }
        return RecordBatch(Schema(Sample.schema.fields.map { Field($0.name, $0.type) }), columns)
    }()

    @Test(arguments: ColumnTableTests.table.map(\.0))
    func `what stands under a null does no harm and never fails a row`(text: String) throws {
        let batch = HardeningTests.garbage
        let nulls = RecordBatch(batch.schema, batch.schema.fields.map { .nulls($0.type, count: batch.rowCount) })
        let compiled = try Expression.compile(text, schema: batch.schema)
        let (column, errors) = compiled.evaluate(batch, now: 0)
        let expected = compiled.evaluate(nulls, now: 0)
        #expect(column.allValues == expected.column.allValues)
        #expect(errors.rows.map(\.row) == expected.errors.rows.map(\.row))
    }

    @Test(arguments: [
        "upper(s)", "lower(s)", "reverse(s)", "substr(s, 2, 2)", "left(s, 1)", "right(s, 1)", "length(s)",
        "trim(s, 'ö')", "lpad(s, 9, s)", "s like '_%_'",
        "s ilike '%x%'", "regexp_replace(s, '.', 'x', 'g')", "regexp_extract(s, '(.)(.)', 2)", "split(s, '')",
        "initcap(s)", "translate(s, 'a', 'b')",
        "cast(s as float64)", "try_to_timestamp(s)", "json_value(s, '$.a')", "to_json(s)", "url_decode(s)",
        "url_host(s)", "ip_in(s, '::/0')", "md5(s)", "sha1(s)", "xxhash64(s)", "from_hex(s)", "from_base64(s)",
        "json_entries(s)", "ip_network(s, 8)", "ip_version(s)", "ascii(s)",
        "strptime(s, '%Y %b')", "try_cast(s as decimal(5,2))", "try_cast(s as date)", "split_part(s, s, -1)",
        "replace(s, s, s)", "position(s in s)",
    ])
    func `damaged text does no harm`(text: String) throws {
        var random = SeededGenerator(seed: 7)
        let bytes = (0..<500).map { _ -> [UInt8] in
            (0..<Int.random(in: 0..<20, using: &random)).map { _ in
                [0x80, 0xC3, 0xE2, 0xF0, 0xFF, 0x20, 0x61, 0x5C, 0x22, 0x00, 0x7B, 0x25].randomElement(using: &random)
                    ?? 0
            }
        }
        let batch = RecordBatch(Schema([Field("s", .string)]), [Column.bytes(bytes).reinterpreted(as: .string)])
        let (column, _) = try Expression.compile(text, schema: batch.schema).evaluate(batch)
        #expect(column.count == batch.rowCount)
    }

    @Test func `bytes become text only where they are UTF-8`() throws {
        let batch = RecordBatch(
            Schema([Field("value", .bytes)]), [.bytes([Array("grün".utf8), [0x61, 0xFF], nil, []])])
        let (text, errors) = try Expression.compile("cast(value as string)", schema: batch.schema).evaluate(batch)
        #expect(text.value(at: 0) == "grün" && text.value(at: 3) == "" && text.isNull(2))
        #expect(errors.rows.map(\.row) == [1])
        let (tried, none) = try Expression.compile("try_cast(value as string)", schema: batch.schema).evaluate(batch)
        #expect(none.isEmpty && tried.isNull(1))
        let back = try Expression.compile("cast(cast(value as string) as bytes)", schema: batch.schema)
        #expect(back.evaluate(batch).column.value(at: 0) == .bytes(Array("grün".utf8)))
    }

    @Test func `extreme numbers and times do no harm`() throws {
        let schema = Schema([
            Field("i", .int64), Field("j", .int64), Field("x", .float64), Field("t", .timestamp), Field("n", .date),
        ])
        let integers: [Int64] = [.min, .min + 1, -1, 0, 1, .max - 1, .max]
        let floats: [Double] = [
            .nan, .infinity, -.infinity, .greatestFiniteMagnitude, -0.0, .leastNonzeroMagnitude, 1e18,
        ]
        var rows: [[Value]] = []
        for i in integers {
            for j in integers {
                rows.append([
                    .int(i), .int(j), .float(floats[rows.count % 7]), .timestamp(i),
                    .date(Int32(truncatingIfNeeded: i)),
                ])
            }
        }
        let batch = RecordBatch(schema, rows: rows)
        for text in [
            "i + j", "i - j", "i * j", "i / j", "i % j", "-i", "abs(i)", "round(i, j)", "substr('abc', i, j)",
            "left('abc', i)", "right('abc', j)", "split_part('a,b', ',', i)", "[1,2,3][i]",
            "list_slice([1, 2, 3], i, j)", "repeat('a', i)", "lpad('a', i)", "chr(i)", "cast(i as int32)",
            "cast(x as int64)", "cast(x as int32)", "cast(x as decimal(38,10))", "cast(x as string)", "round(x, i)",
            "trunc(x, j)",
            "power(x, x)", "from_unixtime(i)", "from_unixtime(x)", "timestamp_millis(i)", "timestamp_nanos(i)",
            "make_date(i, j, i)", "t + i * interval '1 second'", "t - interval '1 month'", "t + interval '100 years'",
            "date_trunc('week', t)", "date_trunc('year', t)",
            "extract(week from t)", "extract(isoyear from n)", "extract(epoch from t - t)", "date_diff('month', t, t)",
            "date_diff('week', t, t)", "date_bin(interval '7 days', t)", "strftime(t, '%Y %V %G %j')",
            "cast(t as string)", "cast(n as string)", "n + i", "n - n", "cast(n as timestamp)",
            "cast(t as date)", "to_json(struct(x as x, i as i))",
            "cast(i as decimal(38,19)) * cast(j as decimal(38,19))",
            "cast(i as decimal(20,0)) / cast(j as decimal(20,0))", "list_sum([i, j])",
            "date_bin((i) * interval '1 microsecond', t)", "i in (1, -9223372036854775808)",
        ] {
            // Arithmetic of times also meets values outside of the years 0001 to 9999: sources may give any.
            let compiled = try Expression.compile(text, schema: schema)
            #expect(compiled.evaluate(batch).column.count == rows.count, "\(text)")
        }
    }
}
