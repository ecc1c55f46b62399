import DataflowColumnar
import Testing

@testable import DataflowExpression

/// Expressions without columns and their values.
@Suite struct ConstantTableTests {
    static let table: [(String, Value)] = [
        // Literals.
        ("1", 1), ("-9223372036854775808", .int(.min)), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("'it''s'", "it's"),
        ("true", true), ("cast(null as int64)", nil),
        ("timestamp '1970-01-01 00:00:01+01:00'", .timestamp(-3_599_000_000)),
        ("date '2024-02-29'", .date(19782)), ("'a' -- comment\n || /* two */ 'b'", "ab"),
        // Arithmetic: integers stay integers.
        ("7 / 2", 3), ("-7 / 2", -3), ("7 % -2", 1), ("-7 % 2", -1), ("7.0 / 2", 3.5), ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("- -1", 1), ("2 - -2", 4), ("10 - 2 - 3", 5), ("100 / 10 / 5", 2), ("null + 1", nil), ("-(1 + 2)", -3),
        ("9223372036854775807 % -1", 0), ("1 / 2.0", 0.5), ("0.1 + 0.2", .float(0.1 + 0.2)),
        // Decimals.
        ("cast('1.10' as decimal(10,2)) + cast('2.205' as decimal(10,3))", .decimal(3305, scale: 3)),
        ("cast('1.10' as decimal(10,2)) * 3", .decimal(330, scale: 2)),
        ("cast('1.10' as decimal(10,2)) * 0.5", .decimal(550, scale: 3)),
        ("cast('10' as decimal(10,0)) / 3", .decimal(3_333_333, scale: 6)),
        ("cast('-10' as decimal(10,0)) / 3", .decimal(-3_333_333, scale: 6)),
        ("cast('20' as decimal(10,0)) / 3", .decimal(6_666_667, scale: 6)),
        ("cast('10.5' as decimal(10,1)) % 3", .decimal(15, scale: 1)),
        ("cast('1.005' as decimal(10,2))", .decimal(101, scale: 2)),
        ("cast('-1.005' as decimal(10,2))", .decimal(-101, scale: 2)),
        ("cast(1.005 as decimal(10,2))", .decimal(101, scale: 2)),
        ("cast('1e3' as decimal(10,2))", .decimal(100000, scale: 2)),
        ("cast('12.34' as decimal(10,2)) = 12.34", true),
        ("12345678901234567890 + 1", .decimal(12_345_678_901_234_567_891, scale: 0)),
        ("cast('99999999999999999999999999999999999999' as decimal(38,0)) > 1", true),
        ("cast(cast('12.50' as decimal(10,2)) as string)", "12.50"),
        ("cast(cast('-0.05' as decimal(10,2)) as string)", "-0.05"),
        ("cast(cast('2.5' as decimal(10,1)) as int64)", 3), ("cast(cast('-2.5' as decimal(10,1)) as int64)", -3),
        ("round(cast('2.345' as decimal(10,3)), 2)", .decimal(235, scale: 2)),
        ("ceil(cast('2.1' as decimal(10,1)))", .decimal(3, scale: 0)),
        ("floor(cast('-2.1' as decimal(10,1)))", .decimal(-3, scale: 0)),
        ("round(cast('1250' as decimal(10,0)), -2)", .decimal(1300, scale: 0)),
        // Comparison and three values.
        ("1 < 2", true), ("1 = 1.0", true), ("'a' < 'b'", true), ("'B' < 'a'", true), ("'ab' > 'a'", true),
        ("null = null", nil),
        ("1 <> 2", true), ("1 != 2", true), ("null is null", true), ("1 is not null", true),
        ("null is distinct from 1", true),
        ("1 is not distinct from 1", true), ("null is not distinct from null", true), ("true and null", nil),
        ("false and null", false),
        ("null and false", false), ("true or null", true), ("null or true", true), ("null or false", nil),
        ("not null", nil),
        ("not true", false), ("null is unknown", true), ("(1 = 2) is false", true), ("null is not true", true),
        ("false < true", true),
        ("cast('NaN' as float64) = cast('NaN' as float64)", true), ("cast('NaN' as float64) > 1e308", true),
        ("date '2024-01-01' < timestamp '2024-01-01T00:00:01Z'", true),
        ("timestamp '2024-01-01T00:00:00Z' = '2024-01-01'", true),
        ("date '2024-01-01' between '2023-12-31' and '2024-01-02'", true),
        // Membership, ranges, patterns.
        ("2 in (1, 2)", true), ("3 in (1, 2)", false), ("3 in (1, null)", nil), ("1 in (1, null)", true),
        ("null in (1)", nil),
        ("3 not in (1, 2)", true), ("3 not in (1, null)", nil), ("'b' in ('a', 'b')", true), ("1 in (1.0, 2.5)", true),
        ("'a long text of many bytes' in ('x', 'a long text of many bytes')", true), ("true in (false)", false),
        ("5 in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)", true), ("50 in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)", false),
        ("2 between 1 and 3", true), ("2 not between 1 and 3", false), ("2 between null and 1", false),
        ("2 between null and 3", nil),
        ("2 between 3 and 1", false), ("'abc' like 'a%'", true), ("'abc' like '%c'", true), ("'abc' like '%b%'", true),
        ("'abc' like 'a_c'", true), ("'aöc' like 'a_c'", true), ("'abc' like 'abc'", true), ("'abc' like 'b'", false),
        ("'' like ''", true), ("'' like '%'", true), ("'' like '_'", false), ("'a%c' like 'a\\%c'", true),
        ("'abc' like 'a\\%c'", false),
        ("'a%c' like 'a!%c' escape '!'", true), ("'a\\c' like 'a\\c' escape ''", true), ("'abXcd' like '%b%d'", true),
        ("'aXbXc' like 'a%X%c'", true), ("'mississippi' like '%iss%pi'", true), ("'mississippi' like 'm%iss_p%'", true),
        ("'mississippi' like 'm%isp%'", false),
        ("'ABC' ilike 'a%'", true), ("'STRASSE' ilike 'strasse'", true), ("'ÄPFEL' ilike 'äpf%'", true),
        ("'abc' not like 'a%'", false),
        ("null like 'a'", nil), ("'a' like null", nil),
        // Choices.
        ("case when 1 = 2 then 'a' when 1 = 1 then 'b' else 'c' end", "b"), ("case when null then 1 end", nil),
        ("case 2 when 1 then 'a' when 2 then 'b' end", "b"), ("case null when null then 1 else 2 end", 2),
        ("case when true then 1 else 1 / 0 end", 1), ("case when false then 1 / 0 else 2 end", 2),
        ("case when true then 1 else 2.5 end", 1.0),
        ("coalesce(null, 1 / 1, 1 / 0)", 1), ("nullif(1, 1)", nil), ("nullif('a', null)", "a"),
        ("greatest(1, 2.5)", 2.5),
        ("least(null, 3, 2)", 2), ("greatest(null, null)", nil), ("greatest('b', 'a', null)", "b"),
        // Casts.
        ("cast('12' as int64)", 12), ("' 12 '::int32", 12), ("'1.5'::float64", 1.5), ("'-1e-3'::float64", -0.001),
        ("'0.1'::float64", 0.1), ("'123456789.123456789'::float64", 123456789.123456789),
        ("'Infinity'::float64", .float(.infinity)),
        ("2.5::int64", 2), ("3.5::int64", 4), ("-2.5::int64", -2), ("1::string", "1"), ("1.0::string", "1"),
        ("1.25::text", "1.25"),
        ("1e20::string", "1e+20"), ("true::string", "true"), ("'yes'::bool", true), ("'F'::boolean", false),
        ("try_cast('x' as int64)", nil),
        ("try_cast('7' as int64)", 7), ("try_cast(300000000000 as int32)", nil),
        ("cast('2024-05-01' as date)", .date(19844)),
        ("cast('2024-05-01T23:59:59Z' as date)", .date(19844)),
        ("cast(timestamp '1969-12-31T23:00:00Z' as date)", .date(-1)),
        ("cast(date '1970-01-02' as timestamp)", .timestamp(86_400_000_000)),
        ("timestamp '2024-05-01T12:00:00.120Z'::string", "2024-05-01T12:00:00.12Z"),
        ("date '0001-01-01'::string", "0001-01-01"), ("'ab'::bytes", .bytes([97, 98])),
        ("cast('ab'::bytes as string)", "ab"),
        ("cast(['1', '2'] as list<int64>)", [1, 2]), ("try_cast(['1', 'x'] as list<int64>)", nil),
        ("'1'::int::string || 'x'", "1x"),
        ("cast([] as list<int64>)", []), ("cast(struct(1 as a) as struct<a string>)", .structure(["1"])),
        // Text.
        ("lower('ABC')", "abc"), ("upper('äß')", "ÄSS"), ("trim('  x ')", "x"), ("trim('xxaxx', 'x')", "a"),
        ("trim(both 'x' from 'xax')", "a"),
        ("trim(leading from '  a ')", "a "), ("trim(trailing 'ö' from 'aöö')", "a"), ("trim('ab', null)", nil),
        ("ltrim('xya', 'yx')", "a"),
        ("length('äöü')", 3), ("length('')", 0), ("octet_length('äöü')", 6), ("char_length('abc')", 3),
        ("substr('häuser', 2, 2)", "äu"),
        ("substr('abc', 0, 2)", "a"), ("substr('abc', -1, 3)", "a"), ("substr('abc', 5)", ""),
        ("substring('abcdef' from 2 for 3)", "bcd"),
        ("substring('abcdef', 3)", "cdef"), ("left('häuser', 2)", "hä"), ("right('häuser', 2)", "er"),
        ("right('häuser', -2)", "user"),
        ("left('abc', -5)", ""), ("left('abc', 10)", "abc"), ("replace('aaa', 'a', 'bb')", "bbbbbb"),
        ("replace('abc', '', 'x')", "abc"),
        ("concat('a', null, 1, true)", "a1true"), ("concat(null)", ""), ("concat_ws(',', 'a', null, 'b')", "a,b"),
        ("concat_ws(null, 'a', 'b')", nil),
        ("'a' || 1", "a1"), ("'a' || null", nil), ("split_part('a--b', '--', 2)", "b"),
        ("split_part('a,b', ',', 5)", ""),
        ("split_part('a,b,c', ',', -2)", "b"), ("split_part('abc', '', 1)", "abc"), ("split_part('a,b', ',', -5)", ""),
        ("starts_with('abc', '')", true),
        ("ends_with('abc', 'abcd')", false), ("position('ö' in 'aöb')", 2), ("strpos('abc', '')", 1),
        ("contains('abc', 'bc')", true),
        ("lpad('abc', 5, 'xy')", "xyabc"), ("lpad('abc', 6, 'ö')", "öööabc"), ("rpad('abc', 2)", "ab"),
        ("lpad('abc', 5, '')", "abc"),
        ("reverse('aöb')", "böa"), ("repeat('ab', 0)", ""), ("repeat('ab', -1)", ""), ("chr(228)", "ä"),
        ("ascii('ä')", 228),
        ("translate('abc', 'ac', 'x')", "xb"), ("initcap('ÉCOLE du soir')", "École Du Soir"),
        ("substr('a text that is longer than twelve bytes', 8)", "that is longer than twelve bytes"),
        // Regular expressions.
        ("regexp_like('abc', 'b')", true), ("regexp_like('abc', '^b')", false),
        ("regexp_like('a\nb', '^b', 'm')", true), ("regexp_like('a\nb', 'a.b')", false),
        ("regexp_like('a\nb', 'a.b', 's')", true), ("regexp_replace('aaa', 'a', 'b')", "baa"),
        ("regexp_replace('aaa', 'a', 'b', 'g')", "bbb"),
        ("regexp_replace('AbA', 'a', 'x', 'gi')", "xbx"), ("regexp_replace('abc', 'x*', '-', 'g')", "-a-b-c-"),
        ("regexp_replace('aöb', '', '-', 'g')", "-a-ö-b-"),
        ("regexp_replace('abc', '(b)', '<\\1\\\\\\&>')", "a<b\\b>c"),
        ("regexp_replace('en:x', '^[a-z]{2,3}:', '')", "x"), ("regexp_replace('e:x', '^[a-z]{2,3}:', '')", "e:x"),
        ("regexp_replace('ende:x', '^[a-z]{2,3}:', '')", "ende:x"), ("regexp_extract('k=v', '(\\w)=(\\w)', 2)", "v"),
        ("regexp_extract('k=v', 'x')", nil),
        ("regexp_extract('k=v', '(x)?k')", nil), ("regexp_extract('k=v', '(k)=', 0)", "k="),
        ("regexp_count('', 'a*')", 1), ("regexp_extract_all('a=1,b=2', '(\\w)=')", ["a", "b"]),
        // Numbers.
        ("abs(-1.5)", 1.5), ("round(-2.5)", -3.0), ("round(1234.567, -2)", 1200.0), ("round(2.675, 2)", 2.68),
        ("trunc(1.99, 1)", 1.9), ("round(1250, -2)", 1300),
        ("round(7)", 7), ("sign(0)", 0), ("mod(7, 3)", 1), ("pow(2, 0.5)", .float(2.0.squareRoot())),
        ("ceiling(1.1)", 2.0), ("pi() > 3", true),
        // Lists.
        ("[1, 2, 3][0]", 1), ("[1, 2, 3][-1]", nil), ("[1, 2, 3][3]", nil), ("array[1, 2]", [1, 2]),
        ("[1, null]", [1, nil]), ("[1, 2.5]", [1.0, 2.5]),
        ("[1] || [2, 3]", [1, 2, 3]), ("[1] || []", [1]), ("size([])", 0), ("cardinality([1, 2])", 2),
        ("contains([1, null], 2)", nil), ("contains([1, null], 1)", true),
        ("list_sort(['b', null, 'a'])", ["a", "b", nil]), ("list_sort([1, null, 2], 'desc')", [2, 1, nil]),
        ("list_distinct([1, null, 1, null])", [1, nil]),
        ("list_min(['b', 'a'])", "a"), ("list_max(cast([] as list<int64>))", nil), ("list_sum([1.5, 2])", 3.5),
        ("list_avg(cast([null] as list<int64>))", nil),
        ("flatten([['a'], cast(null as list<string>), ['b']])", ["a", "b"]), ("list_slice([1, 2, 3], 0, 2)", [1, 2]),
        ("list_slice([1, 2, 3], -5)", [1, 2, 3]),
        ("split('', ',')", [""]), ("first(cast([] as list<int64>))", nil),
        ("filter([1, 2, null, 4], x -> x % 2 = 0)", [2, 4]),
        ("transform([[1, 2], [3]], l -> size(l))", [2, 1]),
        ("transform([1, 2], x -> transform([10, 20], y -> x * y))", [[10, 20], [20, 40]]),
        ("transform([5, 6], (x, i) -> i)", [0, 1]), ("any_match([1, null], x -> x > 1)", nil),
        ("any_match([2, null], x -> x > 1)", true),
        ("all_match(cast([] as list<int64>), x -> x > 1)", true), ("all_match([2, null], x -> x > 1)", nil),
        ("all_match([0, null], x -> x > 1)", false),
        ("struct(1 as a, 'x' as b).b", "x"), ("struct(struct(5 as z) as a).a.z", 5), ("reverse([1, 2])", [2, 1]),
        // Time.
        ("timestamp '2024-01-31T00:00:00Z' + interval '1 month'", .timestamp(1_709_164_800_000_000)),
        ("timestamp '2024-03-31T00:00:00Z' - interval '1 month'", .timestamp(1_709_164_800_000_000)),
        ("date '2024-01-01' + 31", .date(19754)), ("date '2024-03-01' - date '2024-02-01'", 29),
        ("date '2024-01-01' + interval '1 hour'", .timestamp(1_704_070_800_000_000)),
        ("timestamp '2024-01-01T00:00:00Z' + 2 * interval '1 day 12 hours'", .timestamp(1_704_326_400_000_000)),
        ("timestamp '2024-01-01T00:01:00Z' - timestamp '2024-01-01T00:00:00Z' > interval '59 seconds'", true),
        ("interval '1 minute' + timestamp '1970-01-01T00:00:00Z'", .timestamp(60_000_000)),
        ("extract(epoch from timestamp '1970-01-01T00:00:01.5Z')", 1.5), ("extract(dow from date '2024-05-05')", 0),
        ("extract(isodow from date '2024-05-05')", 7),
        ("extract(week from date '2021-01-03')", 53), ("extract(isoyear from date '2021-01-03')", 2020),
        ("extract(doy from date '2024-12-31')", 366),
        ("extract(quarter from date '2024-11-30')", 4), ("extract(second from timestamp '2024-01-01T00:00:59.9Z')", 59),
        ("extract(milliseconds from timestamp '2024-01-01T00:00:59.9Z')", 59900),
        ("extract(hour from timestamp '1969-12-31T23:59:59Z')", 23),
        ("date_part('year', timestamp '1969-12-31T23:59:59Z')", 1969),
        ("date_trunc('week', date '2024-05-05')", .timestamp(1_714_348_800_000_000)),
        ("date_trunc('month', timestamp '1969-12-31T23:59:59Z')", .timestamp(-2_678_400_000_000)),
        ("date_trunc('quarter', date '2024-05-05')", .timestamp(1_711_929_600_000_000)),
        ("date_trunc('minute', timestamp '1969-12-31T23:59:59.5Z')", .timestamp(-60_000_000)),
        ("date_diff('month', date '2024-01-31', date '2024-02-01')", 1),
        ("date_diff('hour', timestamp '2024-01-01T01:00:00Z', timestamp '2024-01-01T00:59:59Z')", -1),
        ("date_bin(interval '5 minutes', timestamp '1969-12-31T23:59:00Z')", .timestamp(-300_000_000)),
        (
            "date_bin(interval '1 hour', timestamp '1970-01-01T00:20:00Z', timestamp '1970-01-01T00:30:00Z')",
            .timestamp(-1_800_000_000)
        ),
        ("to_timestamp('2024-05-01')", .timestamp(1_714_521_600_000_000)), ("try_to_timestamp('2024-02-30')", nil),
        ("try_to_timestamp('x', '%Y')", nil),
        ("from_unixtime(-1)", .timestamp(-1_000_000)), ("timestamp_millis(-1)", .timestamp(-1000)),
        ("timestamp_nanos(-1)", .timestamp(-1)), ("epoch(timestamp '1969-12-31T23:59:59.5Z')", -1),
        (
            "strftime(timestamp '2024-01-05T15:04:05.006007Z', '%a %A %b %B %d %e %H %I %p %M %S %f %L %j %y %u %w %V %G %s %z %F %T %%')",
            "Fri Friday Jan January 05 5 15 03 PM 04 05 006007 006 005 24 5 5 01 2024 1704467045 +0000 2024-01-05 15:04:05 %"
        ),
        ("strptime('2024-05-01 10:00:00.25 +0200', '%F %T.%f %z')", .timestamp(1_714_550_400_250_000)),
        ("strptime('1 Feb 99', '%d %b %y')", .timestamp(917_827_200_000_000)),
        ("strptime('12 AM', '%I %p')", .timestamp(0)), ("make_date(2024, 12, 31) - make_date(2024, 1, 1)", 365),
        ("now() = now()", true),
        // try.
        ("try(1 / 0)", nil), ("try(cast('x' as int64)) is null", true), ("coalesce(try(1 / 0), -1)", -1),
    ]

    @Test(arguments: table.indices)
    func `a constant expression has its value`(index: Int) throws {
        let (text, expected) = ConstantTableTests.table[index]
        #expect(try Sample.value(text) == expected, "\(text)")
    }

    static let failures: [(String, RowError.Code)] = [
        ("9223372036854775807 + 1", .overflow), ("-9223372036854775808 - 1", .overflow),
        ("9223372036854775807 * 2", .overflow),
        ("-9223372036854775808 / -1", .overflow), ("- (-9223372036854775808)", .overflow),
        ("abs(-9223372036854775808)", .overflow),
        ("1 / 0", .divisionByZero), ("1 % 0", .divisionByZero), ("1.0 / 0", .divisionByZero),
        ("1.0 % 0.0", .divisionByZero),
        ("cast('1' as decimal(5,2)) / 0", .divisionByZero),
        ("cast('999.99' as decimal(5,2)) + cast(99999999999999999999999999999999999999 as decimal(38,0))", .overflow),
        ("cast('x' as int64)", .invalidCast), ("cast('' as float64)", .invalidCast),
        ("cast('1e999' as float64)", .invalidCast), ("cast('0x10' as float64)", .invalidCast),
        ("cast(3000000000 as int32)", .invalidCast), ("cast(1e30 as int64)", .invalidCast),
        ("cast('nan'::float64 as int64)", .invalidCast), ("cast('12345.6' as decimal(5,2))", .invalidCast),
        ("cast(1e300 as float32)", .invalidCast), ("cast(['1', 'x'] as list<int64>)", .invalidCast),
        ("to_timestamp('2024-13-01')", .invalidCast),
        ("strptime('x', '%Y')", .invalidCast), ("sqrt(-1)", .invalidArgument), ("ln(0)", .invalidArgument),
        ("power(0, -1)", .invalidArgument),
        ("split_part('a', ',', 0)", .invalidArgument), ("chr(0)", .invalidArgument),
        ("substr('a', 1, -1)", .invalidArgument), ("make_date(2023, 2, 29)", .invalidArgument),
        ("repeat('ab', 100000000)", .tooLong), ("lpad('a', 100000000)", .tooLong), ("date '9999-12-31' + 1", .overflow),
        ("timestamp '9999-12-31T00:00:00Z' + interval '1 day'", .overflow),
        ("timestamp '2024-01-01T00:00:00Z' + interval '100000 years'", .overflow),
        ("transform([1, 0], x -> 1 / x)", .divisionByZero), ("from_unixtime(9223372036854775807)", .overflow),
        ("list_sum([9223372036854775807, 1])", .overflow),
    ]

    @Test(arguments: failures.indices)
    func `a constant expression that cannot be computed fails its rows`(index: Int) throws {
        let (text, expected) = ConstantTableTests.failures[index]
        let error = #expect(throws: RowError.self, "\(text)") { try Sample.value(text) }
        #expect(error?.code == expected, "\(text)")
    }
}

/// Expressions over columns, one value a row of the sample.
@Suite struct ColumnTableTests {
    static let table: [(String, [Value])] = [
        ("i", [7, -4, nil, 0]), ("i + j", [10, 96, nil, 0]), ("i * 2 - 1", [13, -9, nil, -1]),
        ("j + 1", [4, 101, nil, 1]), ("-i", [-7, 4, nil, 0]),
        ("10 / i", [1, -2, nil, "!division_by_zero"]), ("x / 2", [0.75, -1.125, nil, 0.0]),
        ("f * 2", [0.5, 16.0, nil, 0.0]),
        ("d * 2", [.decimal(2500, scale: 2), .decimal(-10, scale: 2), nil, .decimal(0, scale: 2)]),
        ("i > j", [true, false, nil, false]), ("i = 7 or 1 / i = 0", [true, true, nil, "!division_by_zero"]),
        ("i <> 0 and 10 / i > 0", [true, false, nil, false]),
        ("10 / i > 0 and i <> 0", [true, false, nil, "!division_by_zero"]),
        ("case when i <> 0 then 10 / i else -1 end", [1, -2, -1, -1]),
        ("case when i = 0 then 1 / i end", [nil, nil, nil, "!division_by_zero"]),
        ("coalesce(i, 1 / i, 5)", [7, -4, 5, 0]), ("coalesce(i, required)", [7, -4, 3, 0]),
        ("s", ["Hello", "straße and more text", nil, ""]), ("upper(s)", ["HELLO", "STRASSE AND MORE TEXT", nil, ""]),
        ("length(s)", [5, 20, nil, 0]), ("s || '?'", ["Hello?", "straße and more text?", nil, "?"]),
        ("substr(s, 8)", ["", "and more text", nil, ""]),
        ("concat(s, i)", ["Hello7", "straße and more text-4", "", "0"]),
        ("nullif(s, '')", ["Hello", "straße and more text", nil, nil]),
        ("s in ('Hello', '')", [true, false, nil, true]), ("s not in ('Hello', null)", [false, nil, nil, nil]),
        ("s like '%e%'", [true, true, nil, false]),
        ("s ilike 'h%'", [true, false, nil, false]), ("b", [true, false, nil, true]),
        ("not b", [false, true, nil, false]), ("b is true", [true, false, false, true]),
        ("b is not false", [true, false, true, true]), ("b and s = ''", [false, false, nil, true]),
        ("i is null", [false, false, true, false]), ("i is distinct from 7", [false, true, true, true]),
        ("i is not distinct from j", [false, false, true, true]), ("i in (7, 0)", [true, false, nil, true]),
        ("i in (j, 7)", [true, false, nil, true]),
        ("octet_length(raw)", [3, 0, nil, 2]), ("cast(raw as string)", ["!invalid_cast", "", nil, "hi"]),
        ("try_cast(raw as string)", [nil, "", nil, "hi"]),
        ("cast(s as int64)", ["!invalid_cast", "!invalid_cast", nil, "!invalid_cast"]),
        ("try_cast(s as int64)", [nil, nil, nil, nil]),
        ("tags[0]", ["en:snacks", nil, nil, "x"]), ("tags[2]", [nil, nil, nil, nil]),
        ("tags[required]", ["fr:sucre", nil, nil, nil]), ("size(tags)", [3, 0, nil, 1]),
        ("p.name", ["tea", nil, nil, ""]), ("p.price * 2", [5.0, 0.0, nil, nil]),
        ("items[0].name", ["a", nil, nil, "only"]), ("items[1].price", [nil, nil, nil, nil]),
        ("first(items).price", [1.0, nil, nil, 9.5]),
        ("filter(items, x -> x.price > 0)[0].name", ["a", nil, nil, "only"]),
        ("transform(tags, t -> regexp_replace(t, '^[a-z]{2,3}:', ''))", [["snacks", "sucre", nil], [], nil, ["x"]]),
        ("transform(numbers, n -> n * i)", [[21, 7, nil, 14], [], nil, [0]]),
        ("filter(numbers, n -> n <> i)", [[3, 1, 2], [], nil, [5]]),
        ("any_match(tags, t -> t like 'fr:%')", [true, false, nil, false]),
        ("all_match(numbers, n -> n > 0)", [nil, true, nil, true]),
        (
            "transform(numbers, n -> transform(tags, t -> size(numbers) + n))",
            [[[7, 7, 7], [5, 5, 5], [nil, nil, nil], [6, 6, 6]], [], nil, [[6]]]
        ),
        ("transform(numbers, n -> 10 / (n - 1))", ["!division_by_zero", [], nil, [2]]),
        ("transform(numbers, n -> try(10 / (n - 1)))", [[5, nil, nil, 10], [], nil, [2]]),
        ("list_sort(numbers)", [[1, 2, 3, nil], [], nil, [5]]),
        ("contains(numbers, i)", [nil, false, nil, false]), ("contains(numbers, 3)", [true, false, nil, false]),
        ("list_join(tags, ',')", ["en:snacks,fr:sucre", "", nil, "x"]), ("list_sum(numbers)", [6, nil, nil, 5]),
        ("list_max(numbers)", [3, nil, nil, 5]),
        ("numbers || [i]", [[3, 1, nil, 2, 7], [-4], nil, [5, 0]]),
        ("map_get(items, 'a')", [1.0, nil, nil, nil]), ("map_get(items, 'only')", [nil, nil, nil, 9.5]),
        ("map_get(items, s)", [nil, nil, nil, nil]), ("map_contains(items, 'b')", [true, false, nil, false]),
        ("map_keys(items)", [["a", "b", nil], [], nil, ["only"]]),
        ("map_values(items)", [[1.0, nil, nil], [], nil, [9.5]]),
        (
            "map_from_lists(tags, numbers)",
            ["!invalid_argument", [], nil, [.structure(["x", 5])]]
        ),
        ("map_get(map_from_lists(tags, transform(tags, t -> length(t))), 'fr:sucre')", [8, nil, nil, nil]),
        ("json_entries(s)", [nil, nil, nil, nil]), ("to_hex(raw)", ["0102ff", "", nil, "6869"]),
        ("map_get(json_entries('{\"' || s || '\": ' || required || '}'), s)", ["1", "2", nil, "4"]),
        ("to_base64(raw)", ["AQL/", "", nil, "aGk="]), ("crc32(raw)", [3786882602, 0, nil, 3633523372]),
        ("ip_network('10.1.2.' || j, 24)", ["10.1.2.0/24", "10.1.2.0/24", nil, "10.1.2.0/24"]),
        ("ip_network('10.1.2.3', i)", ["10.0.0.0/7", "!invalid_argument", nil, "0.0.0.0/0"]),
        ("[i, j]", [[7, 3], [-4, 100], [nil, nil], [0, 0]]),
        (
            "struct(i as a, s as b)",
            [
                .structure([7, "Hello"]), .structure([-4, "straße and more text"]), .structure([nil, nil]),
                .structure([0, ""]),
            ]
        ),
        ("case when b then tags else ['none'] end", [["en:snacks", "fr:sucre", nil], ["none"], ["none"], ["x"]]),
        ("case when b then p end.name", ["tea", nil, nil, ""]),
        ("coalesce(p.name, s, 'none')", ["tea", "straße and more text", "none", ""]),
        (
            "ts + interval '1 second'",
            [.timestamp(1_714_566_897_789_000), .timestamp(999_999), nil, .timestamp(1_000_000)]
        ), ("extract(year from ts)", [2024, 1969, nil, 1970]), ("ts > '2000-01-01'", [true, false, nil, false]),
        ("day + 1", [.date(19845), .date(0), nil, .date(1)]),
        (
            "day + interval '1 day'",
            [.timestamp(1_714_608_000_000_000), .timestamp(0), nil, .timestamp(86_400_000_000)]
        ), ("extract(epoch from ts - day)", [45_296.789, 86399.999999, nil, 0.0]),
        ("date_trunc('second', ts)", [.timestamp(1_714_566_896_000_000), .timestamp(-1_000_000), nil, .timestamp(0)]),
        ("ts::date = day", [true, true, nil, true]),
        ("now()", [.timestamp(1_000_000), .timestamp(1_000_000), .timestamp(1_000_000), .timestamp(1_000_000)]),
        ("\"order\" || \"Mixed Case\"", ["first11", "second12", nil, "third13"]),
        ("order", ["first", "second", nil, "third"]), ("greatest(i, j, 1)", [7, 100, 1, 1]),
        ("least(s, 'K')", ["Hello", "K", "K", ""]),
        ("regexp_extract(s, tags[0])", ["!", nil, nil, nil]),
        ("regexp_like(s, '^' || left(s, 1))", [true, true, nil, true]),
        ("regexp_like(s, '(' || s)", ["!invalid_argument", "!invalid_argument", nil, "!invalid_argument"]),
        ("d > 0.5", [true, false, nil, false]),
        ("d / 3", [.decimal(4_166_667, scale: 6), .decimal(-16667, scale: 6), nil, .decimal(0, scale: 6)]),
        ("d::float64", [12.5, -0.05, nil, 0.0]),
        ("round(d, 1)", [.decimal(125, scale: 1), .decimal(-1, scale: 1), nil, .decimal(0, scale: 1)]),
        ("d::string", ["12.50", "-0.05", nil, "0.00"]),
        ("required in (1, 4) and required is not null", [true, false, false, true]), ("1", [1, 1, 1, 1]),
        ("null::int64", [nil, nil, nil, nil]), ("try(10 / i)", [1, -2, nil, nil]),
        (
            "case required when 1 then 'one' when 2 then s else 'other' end",
            ["one", "straße and more text", "other", "other"]
        ),
        ("case when required = 2 then cast(s as int64) else required end", [1, "!invalid_cast", 3, 4]),
        ("split(s, ' ')", [["Hello"], ["straße", "and", "more", "text"], nil, [""]]),
        ("cast(numbers as list<string>)", [["3", "1", nil, "2"], [], nil, ["5"]]),
        ("cast(tags as list<int64>)", ["!invalid_cast", [], nil, "!invalid_cast"]),
    ]

    @Test(arguments: table.indices)
    func `an expression has its value for each row`(index: Int) throws {
        var (text, expected) = ColumnTableTests.table[index]
        // "!" marks a null that no text can stand for.
        expected = expected.map { $0 == "!" ? nil : $0 }
        #expect(try Sample.values(text) == expected, "\(text)")
    }

    @Test(arguments: table.indices)
    func `slices and single rows give the same values as the whole batch`(index: Int) throws {
        let (text, _) = ColumnTableTests.table[index]
        let compiled = try Expression.compile(text, schema: Sample.schema)
        let whole = compiled.evaluate(Sample.batch, now: 1_000_000)
        for range in [0..<1, 1..<2, 2..<3, 1..<4, 0..<0] {
            let part = compiled.evaluate(Sample.batch.slice(range), now: 1_000_000)
            #expect(part.column.count == range.count)
            for row in range where !whole.errors.contains(row) {
                #expect(
                    part.column.value(at: row - range.lowerBound) == whole.column.value(at: row), "\(text) row \(row)")
            }
            for row in range { #expect(part.errors.contains(row - range.lowerBound) == whole.errors.contains(row)) }
        }
    }

    @Test(arguments: table.indices)
    func `rows that are repeated a thousand times keep their values`(index: Int) throws {
        // More rows than a bitmap word has, in another order.
        let (text, _) = ColumnTableTests.table[index]
        let indices = (0..<1000).map { Int32(($0 * 7 + 3) % 4) }
        let compiled = try Expression.compile(text, schema: Sample.schema)
        let whole = compiled.evaluate(Sample.batch, now: 1_000_000)
        let many = compiled.evaluate(Sample.batch.take(Values(indices)), now: 1_000_000)
        for (row, source) in indices.enumerated() {
            #expect(many.errors.contains(row) == whole.errors.contains(Int(source)))
            if !many.errors.contains(row) {
                #expect(many.column.value(at: row) == whole.column.value(at: Int(source)), "\(text) row \(row)")
            }
        }
    }
}
