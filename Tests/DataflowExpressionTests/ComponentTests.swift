import DataflowColumnar
import Testing

@testable import DataflowExpression

private func withBytes<R>(_ text: String, _ body: (UnsafeRawBufferPointer) -> R) -> R {
    Array(text.utf8).withUnsafeBytes { body($0) }
}

@Suite struct CalendarTests {
    @Test func `days and calendar days agree from the year 1 to 9999`() {
        var expected = Calendar.Day(year: 1, month: 1, day: 1)
        for days in Int(Calendar.dateRange.lowerBound)...Int(Calendar.dateRange.upperBound) {
            if Calendar.day(days) != expected
                || Calendar.days(year: expected.year, month: expected.month, day: expected.day) != days
            {
                Issue.record("day \(days) is \(Calendar.day(days)), expected \(expected)")
                return
            }
            expected.day += 1
            if expected.day > Calendar.daysInMonth(expected.year, expected.month) {
                expected.day = 1
                expected.month += 1
                if expected.month > 12 { (expected.year, expected.month) = (expected.year + 1, 1) }
            }
        }
        #expect(expected == Calendar.Day(year: 10000, month: 1, day: 1))
    }

    @Test(arguments: [
        ("2024-05-01T12:30:00Z", 1_714_566_600_000_000), ("2024-05-01 12:30", 1_714_566_600_000_000),
        ("2024-05-01T12:30:00+02:00", 1_714_559_400_000_000),
        ("2024-05-01T12:30:00-0230", 1_714_575_600_000_000), ("2024-05-01T12:30:00.5+02", 1_714_559_400_500_000),
        ("2024-05-01", 1_714_521_600_000_000), ("  2024-05-01  ", 1_714_521_600_000_000),
        ("2024-05-01T12:30:00,123456789Z", 1_714_566_600_123_456), ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01", -62_135_596_800_000_000), ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
    ])
    func `timestamps are read`(text: String, expected: Int) {
        #expect(withBytes(text, Calendar.parseTimestamp) == Int64(expected))
    }

    @Test(arguments: [
        "", "2024", "2024-5-1", "2024-02-30", "2023-02-29", "2024-00-01", "2024-01-00", "0000-01-01", "2024-05-01T",
        "2024-05-01T12", "2024-05-01T25:00", "2024-05-01T12:60", "2024-05-01T12:30:61",
        "2024-05-01T12:30:00.", "2024-05-01T12:30:00X", "2024-05-01T12:30:00+", "2024-05-01T12:30:00+2",
        "2024-05-01T12:30:00+16", "2024-05-01T12:30Z ago", "9999-12-31T23:59:59-01", "0001-01-01T00:00+01",
        "²024-05-01",
    ])
    func `what is no timestamp is refused`(text: String) {
        #expect(withBytes(text, Calendar.parseTimestamp) == nil)
    }

    @Test func `random timestamps are written as they are read`() {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<20000 {
            let time = Int64.random(in: Calendar.timestampRange, using: &random)
            #expect(withBytes(Calendar.timestampText(time), Calendar.parseTimestamp) == time)
        }
    }

    @Test(arguments: [
        ("10 seconds", 0, 10_000_000), ("1 day 2 hours", 0, 93_600_000_000), ("-1 month", -1, 0),
        ("2 years 1 quarter", 27, 0), ("500ms", 0, 500_000), ("1.5 hours", 0, 5_400_000_000),
        ("1w", 0, 604_800_000_000),
        ("3 mins 1us", 0, 180_000_001),
    ])
    func `intervals are read and printed`(text: String, months: Int, microseconds: Int) throws {
        let interval = try #require(Interval(text))
        #expect(interval == Interval(months: Int64(months), microseconds: Int64(microseconds)))
        #expect(Interval(interval.text) == interval)
    }

    @Test(arguments: ["", "1", "seconds", "1 parsec", "1.5 months", "9223372036854775807 weeks", "1 day 2", "--1 day"])
    func `what is no interval is refused`(text: String) { #expect(Interval(text) == nil) }
}

@Suite struct DecimalTests {
    @Test func `division by way of 256 bits agrees with plain division where that is possible`() {
        var random = SeededGenerator(seed: 5)
        for _ in 0..<5000 {
            let a = Int128(Int64.random(in: .min ... .max, using: &random))
            let b = Int128(Int32.random(in: .min ... .max, using: &random))
            let shift = Int.random(in: 0...18, using: &random)
            if b == 0 { continue }
            let scaled = a * Decimal.powers[shift]
            let (quotient, remainder) = scaled.quotientAndRemainder(dividingBy: b)
            let rest = remainder.magnitude * 2 >= b.magnitude ? ((a < 0) == (b < 0) ? 1 : -1) : 0
            #expect(Decimal.divide(a, shift: shift, by: b) == quotient + Int128(rest))
        }
        #expect(Decimal.divide(Decimal.powers[37], shift: 38, by: 1) == nil)
        #expect(Decimal.divide(Decimal.powers[37] * 9, shift: 38, by: Decimal.powers[37] * 9) == Decimal.powers[38])
    }

    @Test func `random decimals are written as they are read`() {
        var random = SeededGenerator(seed: 6)
        for _ in 0..<5000 {
            let scale = Int.random(in: 0...38, using: &random)
            let value =
                Int128(Int64.random(in: .min ... .max, using: &random))
                * Int128(Int64.random(in: 1...1_000_000_000, using: &random))
            guard value.magnitude < Decimal.powers[38].magnitude else { continue }
            var output = TextOutput(rows: 1)
            Decimal.append(value, scale: scale, to: &output)
            output.endRow()
            let text = output.finish().viewValues?.string(at: 0) ?? ""
            #expect(Decimal.parse(text, precision: 38, scale: scale, exactly: true) == value, "\(text)")
        }
    }

    @Test(arguments: [
        "", "-", ".", "1.2.3", "1e", "e5", "1 2", "0x1", "1e400", "99999999999999999999999999999999999999.5",
        "123456789012345678901234567890123456789",
    ])
    func `what is no decimal or too long is refused`(text: String) {
        #expect(Decimal.parse(text, precision: 38, scale: 0) == nil)
    }
}

@Suite struct NumberParsingTests {
    @Test func `floats are read to the last bit`() {
        var random = SeededGenerator(seed: 8)
        for _ in 0..<20000 {
            let value = Double(bitPattern: random.next())
            if !value.isFinite { continue }
            for text in ["\(value)", "\(Float(value))", "\(Int64(random.next() >> 12)).\(random.next() >> 40)"] {
                guard let expected = Double(text), expected.isFinite else { continue }
                #expect(withBytes(text, Casts.parseDouble)?.bitPattern == expected.bitPattern, "\(text)")
            }
        }
    }
}

@Suite struct PatternTests {
    static let patterns = [
        "^[a-z]{2,3}:", "^en:", "^[0-9]+-", "^\\d{2}", "^a?b", "^[a-c]*d", "^x+", "^\\w+:", "^[a-z_]{1,}\\.",
        "^[A-Z][a-z]*", "^a{0,2}b{3}", "^[a-]b", "^\\[x\\]",
    ]

    @Test(arguments: patterns)
    func `the fast path for simple patterns matches as RE2 does`(pattern: String) throws {
        let prefix = try #require(PrefixPattern(pattern))
        let expression = try RegularExpression("(" + pattern + ")")
        #expect(expression.prefix == nil)
        var random = SeededGenerator(seed: 9)
        let alphabet = Array("abcdenx:0-_.B[] ö")
        for _ in 0..<2000 {
            let text = String(
                (0..<Int.random(in: 0..<10, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? "a" })
            withBytes(text) { bytes in
                let found = expression.firstMatch(bytes)?.count
                #expect(prefix.match(bytes) == found, "\(pattern) on \(text)")
            }
        }
    }

    @Test(arguments: [
        "a", "^", "^a|b", "^(a)", "^[^a]", "^a*a", "^[a-z]*b", "^a?ab", "^a+?", "^.", "^a$", "^[[:alpha:]]", "^\\s",
        "^\\bx", "^a**", "^[a", "^a{2", "^ö", "^a{,2}", "^[]a]", "^a*b?a",
    ])
    func `patterns that would need to go back are left to RE2`(pattern: String) {
        #expect(PrefixPattern(pattern) == nil)
    }

    @Test func `like matches as the equivalent regular expression does`() throws {
        var random = SeededGenerator(seed: 10)
        let alphabet = Array("ab%_ö")
        for _ in 0..<3000 {
            let pattern = String(
                (0..<Int.random(in: 0..<7, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? "a" })
            let text = String(
                (0..<Int.random(in: 0..<8, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? "a" })
            let expression = "^" + pattern.map { $0 == "%" ? ".*" : $0 == "_" ? "." : "\($0)" }.joined() + "$"
            let like = try #require(LikePattern(pattern, escape: nil, ignoresCase: false))
            let column = Vector(.string([text]))
            let compiled = try RegularExpression(expression)
            let expected = withBytes(text) { compiled.matches($0) }
            #expect(like.matches(column, 1).value(at: 0) == .bool(expected), "'\(text)' like '\(pattern)'")
        }
    }
}

@Suite struct DataFunctionTests {
    static let table: [(String, Value)] = [
        // JSON.
        ("json_value('{\"a\":\"x\\\"\\\\\\/\\u00e4\\ud83d\\ude00\\n\"}', '$.a')", "x\"\\/ä😀\n"),
        ("json_value('{\"a\":\"\\ud800x\"}', '$.a')", "\u{FFFD}x"),
        ("json_value(' { \"a\" : [ 1 , {\"b\" : true} ] } ', '$.a[1].b')", "true"),
        ("json_value('{\"a\":null}', '$.a')", nil), ("json_value('{\"a\":{}}', '$.a')", nil),
        ("json_query('{\"a\":{\"b\":[]}}', '$.a')", "{\"b\":[]}"),
        ("json_value('{\"a b\":-1.5e3}', '$[''a b'']')", "-1.5e3"), ("json_value('{\"\\u0061\":1}', '$.a')", "1"),
        ("json_value('[1,2]', '$[2]')", nil), ("json_value('[]', '$[0]')", nil), ("json_value('7', '$')", "7"),
        ("json_value('no json', '$.a')", nil), ("json_value('no json', '$')", nil),
        ("json_value('{\"a\":1', '$.b')", nil), ("json_value('', '$.a')", nil),
        ("json_value('{\"a\":\"}\",\"b\":2}', '$.b')", "2"),
        ("to_json('a\"\n\t' || chr(1))", "\"a\\\"\\n\\t\\u0001\""),
        ("to_json([1.5, cast('NaN' as float64), null])", "[1.5,null,null]"),
        ("to_json(date '2024-05-01')", "\"2024-05-01\""),
        ("to_json(timestamp '2024-05-01T01:02:03Z')", "\"2024-05-01T01:02:03Z\""),
        ("to_json(cast('1.50' as decimal(5,2)))", "1.50"), ("to_json(struct(true as \"a\"\"b\"))", "{\"a\\\"b\":true}"),
        // Digests, with lengths around the block size.
        ("md5('')", "d41d8cd98f00b204e9800998ecf8427e"),
        ("md5('abcdefghijklmnopqrstuvwxyz')", "c3fcd3d76192e4007dfb496cca67e13b"),
        ("md5(repeat('1234567890', 8))", "57edf4a22be3c955ac49da2e2107b67a"),
        ("sha256('')", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (
            "sha256('abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq')",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ), ("md5(repeat('a', 55))", "ef1772b6dff9a122358552954ad0df65"),
        ("md5(repeat('a', 56))", "3b0c8ac703f828b04c6c197006d17218"),
        ("md5(repeat('a', 64))", "014842d480b571495a4a0363793f7367"),
        ("sha1('')", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (
            "sha1('abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq')",
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        ), ("sha1(repeat('a', 64))", "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
        ("crc32('')", 0), ("crc32('123456789')", 3_421_780_262),
        ("xxhash64('')", -1_205_034_819_632_174_695),
        ("xxhash64('Nobody inspects the spammish repetition')", -302_119_147_016_844_303),
        // Encodings.
        ("to_base64('')", ""), ("to_base64('a')", "YQ=="), ("to_base64('ab')", "YWI="), ("to_base64('abc')", "YWJj"),
        ("cast(from_base64('YWJjZA==') as string)", "abcd"), ("cast(from_base64('YWJjZA') as string)", "abcd"),
        ("from_base64('-_8')", .bytes([0xfb, 0xff])), ("from_base64('')", .bytes([])),
        ("from_hex('00fF')", .bytes([0, 255])), ("from_hex('')", .bytes([])),
        ("try(from_base64('a'))", nil), ("try(from_base64('ab=='))", .bytes([0x69])),
        ("try(from_base64('abc=='))", nil),
        ("try(from_base64('ab*='))", nil), ("try(from_hex('abc'))", nil), ("try(from_hex('0g'))", nil),
        // Maps.
        ("map_get([struct('a' as k, 1 as v), struct('a' as k, 2 as v)], 'a')", 2),
        ("map_get(map_from_lists(['a'], [1]) || map_from_lists(['a', 'b'], [3, 4]), 'a')", 3),
        ("map_get(map_from_lists([1, 2], ['x', null]), 2)", nil),
        ("map_contains(map_from_lists([1], ['x']), 2)", false),
        ("map_get(map_from_lists([null, 'a'], [1, 2]), 'a')", 2),
        ("map_keys(filter(map_from_lists(['a', 'b'], [1, 2]), e -> e.value > 1))", ["b"]),
        ("size(map_from_lists(cast([] as list<string>), cast([] as list<int64>)))", 0),
        ("json_entries('[1]')", nil), ("json_entries('{\"a\":1')", nil), ("json_entries('')", nil),
        ("size(json_entries(' { } '))", 0), ("map_get(json_entries('{\"a\\u0062\": \"\\n\"}'), 'ab')", "\n"),
        ("map_get(json_entries('{\"a\": {\"b\": \"}\"}, \"c\": true}'), 'a')", "{\"b\": \"}\"}"),
        ("map_get(json_entries('{\"a\": null, \"c\": true}'), 'c')", "true"),
        ("map_get(json_entries('{\"a\": null}'), 'a')", nil),
        // URLs and addresses.
        ("url_query('http://x/?')", ""), ("url_query('http://x/#?a')", nil),
        ("ip_version('::ffff:10.0.0.1')", 4), ("ip_version('')", nil), ("ip_version('10.0.0')", nil),
        ("ip_network('10.1.2.255', 31)", "10.1.2.254/31"), ("ip_network('1.2.3.4', 0)", "0.0.0.0/0"),
        ("ip_network('::1', 0)", "::/0"), ("ip_network('fe80::1:2', 128)", "fe80::1:2/128"),
        ("ip_network('here', 8)", nil), ("try(ip_network('1.2.3.4', 33))", nil), ("try(ip_network('::1', -1))", nil),
        ("ip_in('10.1.2.3', ip_network('10.1.9.9', 16))", true),
        ("url_host('http://[::1]:80/')", "[::1]"), ("url_host('//example.org')", "example.org"),
        ("url_host('mailto:x')", nil), ("url_path('http://example.org')", ""), ("url_path('/a/b?c')", "/a/b"),
        ("url_scheme('/a')", nil), ("url_host('http://a@b@c/')", "c"),
        ("url_parameter('http://x/?a=1&a=2&b', 'a')", "1"), ("url_parameter('http://x/?a=1&b', 'b')", ""),
        ("url_parameter('http://x/?a=1#b=2', 'b')", nil), ("url_decode('%')", "%"), ("url_decode('%zz%4')", "%zz%4"),
        ("ip_in('10.0.0.1', '10.0.0.1')", true), ("ip_in('11.0.0.1', '10.0.0.0/7')", true),
        ("ip_in('12.0.0.1', '10.0.0.0/7')", false), ("ip_in('::ffff:10.0.0.1', '10.0.0.0/8')", true),
        ("ip_in('1.2.3.4', '0.0.0.0/0')", true), ("ip_in('::1', '0.0.0.0/0')", false), ("ip_in('', '::/0')", nil),
        ("ip_in('fe80::1', '::/0')", true), ("ip_in('10.1.2.3', '::/0')", false),
        ("ip_in('::ffff:10.1.2.3', '::/0')", false),
        ("url_path('mailto:a@b')", "a@b"), ("url_scheme('mailto:a@b?c')", "mailto"), ("url_host('http:')", nil),
        ("url_scheme('1http://x')", nil), ("url_host('1http://x')", nil), ("url_path('1http://x')", "1http://x"),
        ("url_scheme('a b://x')", nil), ("url_scheme('git+ssh://x')", "git+ssh"), ("url_scheme('://x')", nil),
        ("url_path('/a:b')", "/a:b"), ("url_host('file:///a')", ""),
        ("url_parameter('http://x/?%61=5', 'a')", "5"), ("url_parameter('/?a%20b=1&a+c=2', 'a c')", "2"),
        ("url_parameter('/?ab=1&a=2', 'a')", "2"), ("url_parameter('/?%61=5', '%61')", nil),
        ("try(url_decode('%ff'))", nil), ("url_decode('%C3%B6')", "ö"), ("url_decode('%C3' || '%B6')", "ö"),
        ("try(url_parameter('/?q=%C3%28', 'q'))", nil), ("url_parameter('/?q=%C3%28&p=1', 'p')", "1"),
        ("json_value('{\"a\":1,\"a\":2}', '$.a')", "1"), ("json_query('{\"a\":1,\"a\":2}', '$.a')", "1"),
    ]

    @Test(arguments: table.indices)
    func `functions of JSON, digests and addresses have their values`(index: Int) throws {
        let (text, expected) = DataFunctionTests.table[index]
        #expect(try Sample.value(text) == expected, "\(text)")
    }

    @Test(arguments: [
        (
            "map_get(tags, 'a')",
            "8: argument 1 of map_get must be a map, a list of structs of a key and a value, found list<string>; write transform(list, x -> struct(x.name as key, x.size as value)) to make one"
        ),
        ("map_get(items, 1)", "15: argument 2 of map_get must be string, found int64; write cast(1 as string)"),
        ("json_value(s, 'a')", "14: this is no JSON path; write it like '$.a.b[0]' or '$[''the name'']'"),
        ("json_value(s, '$.')", "14: this is no JSON path; write it like '$.a.b[0]' or '$[''the name'']'"),
        ("json_value(s, s)", "14: the path must be a constant text"),
        (
            "ip_in(s, '10.0.0.0/33')",
            "9: this is no network of IP addresses; write it like '10.0.0.0/8' or '2001:db8::/32'"
        ), ("to_json(raw)", "8: bytes have no JSON form; write cast(x as string) for text"),
    ])
    func `wrong arguments are errors of the text`(text: String, expected: String) {
        #expect(Sample.errors(text) == expected)
    }
}

@Suite struct RowErrorTests {
    @Test func `reasons name the value and the expression`() throws {
        let schema = Schema([Field("s", .string), Field("a", .int64)])
        let batch = RecordBatch(
            schema,
            rows: [
                ["x", 1], ["a text that is longer than the forty characters of an excerpt", 0], ["5", .int(.max)],
            ])
        func reasons(_ text: String) throws -> [String] {
            try Expression.compile(text, schema: schema).evaluate(batch).errors.rows.map {
                "\($0.row): \($0.error.message)"
            }
        }
        #expect(
            try reasons("'ab' = url_decode('%ff')")[0] == "0: cannot decode '%ff' to a string: its bytes are not UTF-8")
        #expect(
            try reasons("url_parameter('http://h/?q=%C3%28', s || 'q')") == [],
            "a parameter that is not asked for may hold anything")
        #expect(
            try reasons("url_parameter('http://h/?x=%C3%28', s)")
                == ["0: cannot decode '%C3%28' to a string: its bytes are not UTF-8"])
        #expect(
            try reasons("cast(s as int64)") == [
                "0: cannot cast 'x' to int64", "1: cannot cast 'a text that is longer than the forty cha…' to int64",
            ])
        #expect(try reasons("10 / a + 1") == ["1: division by zero in 10 / a"])
        #expect(try reasons("a + 1") == ["2: int64 overflow in a + 1"])
        #expect(
            try reasons("1 / 0") == [
                "0: division by zero in 1 / 0", "1: division by zero in 1 / 0", "2: division by zero in 1 / 0",
            ])
    }

    @Test func `the first reason of a row stays and rows come in order`() {
        var errors = RowErrors(rowCount: 100)
        #expect(errors.isEmpty && errors.failed == nil && errors.succeeded == nil)
        errors.insert(RowError(.overflow, "a"), at: 70)
        errors.insert(RowError(.overflow, "b"), at: 3)
        errors.insert(RowError(.invalidCast, "c"), at: 70)
        var other = RowErrors(rowCount: 100)
        other.insert(RowError(.tooLong, "d"), at: 3)
        other.insert(RowError(.tooLong, "e"), at: 50)
        errors.formUnion(other)
        #expect(errors.rows.map(\.row) == [3, 50, 70])
        #expect(errors.rows.map(\.error.message) == ["b", "e", "a"])
        #expect(errors.count == 3 && errors.contains(50) && !errors.contains(51))
        #expect(errors.failed?.setCount == 3 && errors.succeeded?.setCount == 97)
    }

    @Test func `patterns from columns are kept compiled up to a bound`() throws {
        let schema = Schema([Field("s", .string), Field("p", .string)])
        let rows: [[Value]] = (0..<1000).map { [.string("x\($0)"), .string("^x\($0 % 200)$")] }
        let compiled = try Expression.compile("regexp_like(s, p)", schema: schema)
        let batch = RecordBatch(schema, rows: rows)
        for _ in 0..<2 {
            let (column, errors) = compiled.evaluate(batch)
            #expect(errors.isEmpty)
            #expect((0..<1000).allSatisfy { column.value(at: $0) == .bool($0 < 200) })
        }
    }

    @Test func `a typed expression says what it reads and what it is`() throws {
        let typed = try Expression.parse("case when s = '' then x end + i").check(Sample.schema)
        #expect(typed.columnsUsed == ["s", "x", "i"] && typed.type == .float64 && typed.nullable)
        #expect(typed.sql == "case when s = '' then x end + i" && typed.columnName == nil && typed.constant == nil)
        #expect(try Expression.parse("\"Mixed Case\"").check(Sample.schema).columnName == "Mixed Case")
        #expect(try Expression.parse("required + 1").check(Sample.schema).nullable == false)
        #expect(try Expression.parse("1 + 1").check(Sample.schema).constant?.value(at: 0) == 2)
        #expect(try Expression.parse("filter(tags, i -> i = s)").check(Sample.schema).columnsUsed == ["tags", "s"])
        #expect(try Expression.parse("i").check(Sample.schema, expecting: .float64).type == .float64)
        let errors = #expect(throws: ExpressionErrors.self) {
            try Expression.parse("i").check(Sample.schema, expecting: .bool)
        }
        #expect(errors?.description == "0: a value of type bool is expected here, found int64")
    }
}
