import DataflowColumnar
import Testing

@testable import DataflowExpression

@Suite struct ErrorTableTests {
    /// A text, and its errors: `offset: message; hint`, one a line.
    static let table: [(String, String)] = [
        // Lexer.
        ("'abc", "0: this text has no closing quote"), ("a \"b", "2: this name has no closing quote"),
        ("\"\"", "0: a name cannot be empty"),
        ("1 /* x", "2: this comment has no end; close it with */"),
        ("i == 1", "2: \"==\" is not an operator; compare with ="),
        ("b && b", "2: \"&&\" is not an operator; write and"),
        ("12abc", "0: \"12abc\" is neither a number nor a name; quote a name that starts with a digit: \"12abc\""),
        ("i ^ 2", "2: \"^\" is not an operator; write power(x, y)"),
        ("s ~ 'a'", "2: \"~\" is not an operator; write regexp_like(text, pattern)"),
        ("$x", "0: \"$\" cannot stand here; a variable of the environment is written ${NAME}"),
        ("i; j", "1: \";\" cannot stand here: this is one expression, not a statement"),
        // Parser.
        ("", "0: a value is expected here, found the end of the expression"),
        ("1 +", "3: a value is expected here, found the end of the expression"),
        ("(1", "2: \")\" is expected to close the bracket, found the end of the expression"),
        ("1 2", "2: the expression should end here, found 2"),
        ("i adn j", "2: the expression should end here, found \"adn\"; did you mean \"and\"?"),
        ("1 < 2 < 3", "6: the expression should end here, found \"<\"; comparisons do not chain: join two with and"),
        (
            "case end",
            "5: a value is expected here, found \"end\"; a column of that name is written \"end\" with quotes"
        ), ("case when b 1 end", "12: \"then\" is expected behind the condition, found 1"),
        ("case when b then 1", "18: \"end\" is expected to close \"case\", found the end of the expression"),
        ("i in ()", "6: at least one value is expected in the list"),
        ("i in 1", "5: \"(\" is expected behind \"in\", found 1"),
        ("i between 1 or 2", "12: \"and\" is expected between the two bounds, found \"or\""),
        ("i is 1", "5: null, true, false, unknown or distinct from is expected here, found 1"),
        ("cast(i int64)", "7: \"as\" is expected between the value and its new type, found \"int64\""),
        (
            "cast(i as)",
            "9: a type is expected here, found \")\"; types are bool, int32, int64, float32, float64, decimal(precision,scale), string, bytes, timestamp, date, list<type>, struct<name type, …>"
        ),
        ("i::strin", "3: unknown type \"strin\"; did you mean \"string\"?"),
        ("i::decimal", "3: decimal needs its digits; write decimal(12,2) for 12 digits, 2 of them behind the point"),
        ("i::decimal(40,2)", "11: the number of digits, 1 to 38, is expected here, found 40"),
        ("i::decimal(4,5)", "13: the number of digits behind the point, 0 to 4, is expected here, found 5"),
        (
            "i::list",
            "7: \"<\" and the type of the elements are expected behind list, found the end of the expression; write list<string>"
        ),
        ("lower(s", "7: \",\" is expected or \")\", found the end of the expression"),
        (
            "count(*)",
            "0: count is an aggregate and cannot stand in a scalar expression; compute it in a window-agg node, under aggregates, and use its column"
        ),
        (
            "sum(i) > 1",
            "0: sum is an aggregate and cannot stand in a scalar expression; compute it in a window-agg node, under aggregates, and use its column"
        ),
        (
            "(1, 2)",
            "2: a list of values in brackets can only stand behind in; a list is written [a, b], a struct struct(a as x, b as y)"
        ),
        (
            "timestamp 'x'",
            "10: 'x' is not a timestamp; write it like timestamp '2024-05-01T12:30:00Z'; years are 0001 to 9999"
        ), ("date '2024-13-01'", "5: '2024-13-01' is not a date; write it like date '2024-05-01'"),
        (
            "interval '3 parsecs'",
            "9: '3 parsecs' is not an interval; write a number and a unit, e.g. interval '10 seconds' or interval '1 day 2 hours'"
        ), ("struct(1)", "8: \"as\" and a name are expected here, found \")\"; write struct(price * 2 as doubled)"),
        ("struct(i, i)", "10: the struct has two members named \"i\""),
        (
            "position('a', s)",
            "12: \"in\" is expected here, found \",\"; write position('x' in text), or strpos(text, 'x')"
        ),
        (
            "x -> 1",
            "2: the expression should end here, found \"->\"; a lambda can only be an argument of a list function, as in filter(tags, x -> x <> '')"
        ),
        ("filter(tags, (a, a) -> true)", "13: the lambda has two parameters named \"a\""),
        ("s like 'a' escape 'xy'", "18: escape must be one character, or '' for none"),
        ("not", "3: a value is expected here, found the end of the expression"),
        ("i ! j", "2: \"!\" is not an operator; write not"),
        // Names.
        (
            "prize",
            "0: unknown column \"prize\"; the columns are \"i\", \"j\", \"x\", \"f\", \"d\", \"s\", \"b\", \"raw\", \"ts\", \"day\", \"tags\", \"numbers\", …"
        ), ("tagz[0]", "0: unknown column \"tagz\"; did you mean \"tags\"?"),
        ("s = \"Hello\"", "4: unknown column \"Hello\"; a text is written in single quotes: 'Hello'"),
        ("I", "0: unknown column \"I\"; did you mean \"i\"?"),
        ("p.nam", "0: the struct has no field \"nam\"; did you mean \"name\"?"),
        ("i.name", "0: int64 has no field \"name\": only structs have fields"),
        (
            "items.name",
            "0: list<struct<name string, price float64>> has no field \"name\": only structs have fields; write items[0].name for the first element"
        ), ("lowr(s)", "0: unknown function \"lowr\"; did you mean \"lower\"?"),
        ("ifnull(s, '')", "0: unknown function \"ifnull\"; write coalesce(a, b)"),
        ("to_char(ts, 'x')", "0: unknown function \"to_char\"; write strftime(time, format)"),
        ("filter(tags, x -> y = 1)", "18: unknown column \"y\"; did you mean \"x\"?"),
        ("a + c", "0: unknown column \"a\"; did you mean \"i\"?\n4: unknown column \"c\"; did you mean \"i\"?"),
        // Types.
        ("s > 1", "4: cannot compare string with int64; write cast(s as int64)"),
        ("1 > s", "4: cannot compare int64 with string; write cast(s as int64)"),
        ("i = '5'", "4: cannot compare int64 with string; write 5 without quotes"),
        ("i = 'x'", "4: cannot compare int64 with string; write cast('x' as int64)"),
        ("b = 1", "4: cannot compare bool with int64"),
        ("tags = tags", "0: values of type list<string> cannot be compared; compare their fields or elements"),
        ("s + 'a'", "0: cannot compute string + string; texts are joined with ||"),
        ("s * 2", "0: cannot compute string * int64; write cast(s as float64), or another number"),
        ("ts + 1", "0: cannot compute timestamp + int64; write interval '10 seconds', or x * interval '1 second'"),
        ("not i", "4: not needs bool, found int64"), ("i and b", "0: and needs bool, found int64"),
        ("case when i then 1 end", "10: the condition behind when must be bool, found int64"),
        ("case when b then 1 else 'a' end", "24: case gives both int64 and string; write cast('a' as int64)"),
        ("coalesce(i, s)", "12: coalesce cannot mix int64 and string; write cast(s as int64)"),
        ("lower(i)", "6: argument 1 of lower must be string, found int64; write cast(i as string)"),
        ("lower()", "0: lower takes 1 argument, found 0; write lower(text)"),
        ("substr(s)", "0: substr takes 2 to 3 arguments, found 1; write substr(text, start [, length])"),
        ("tags['a']", "5: a list index must be int64, found string; write cast('a' as int64)"),
        ("s[0]", "0: string has no elements: only lists are indexed; write substr(text, 1, 1) for a character"),
        ("-s", "0: - needs a number, found string"),
        (
            "cast(i as timestamp)",
            "0: cannot cast int64 to timestamp; write from_unixtime(x), or timestamp_millis(x), timestamp_micros(x)"
        ), ("cast(tags as string)", "0: cannot cast list<string> to string; write list_join(x, ',') or to_json(x)"),
        ("cast(b as int64)", "0: cannot cast bool to int64; write case when x then 1 else 0 end"),
        (
            "cast(ts as int64)",
            "0: cannot cast timestamp to int64; write epoch(x) for seconds, epoch_ms(x) or epoch_us(x)"
        ), ("null", "0: null has no type here; write cast(null as string), or another type"),
        ("[]", "0: the empty list has no type here; write cast([] as list<string>), or another type"),
        (
            "interval '1 day'",
            "0: an interval cannot be a column; write extract(epoch from …) for its length in seconds"
        ),
        ("ts - interval '1 month' > 1", "26: cannot compare timestamp with int64"),
        ("interval '1 month' > interval '1 day'", "0: intervals with months or years cannot be compared"),
        ("i in (1, 'a')", "9: cannot compare int64 with string; write cast('a' as int64)"),
        ("i between 'a' and 2", "10: cannot compare int64 with string; write cast('a' as int64)"),
        ("ts > 'soon'", "5: 'soon' is not a timestamp; write it like '2024-05-01T12:30:00Z'"),
        ("day = '2024-02-30'", "6: '2024-02-30' is not a date; write it like '2024-05-01'"),
        ("tags || i", "8: cannot join list<string> and int64"),
        ("i || j", "0: || joins texts or lists, found int64 and int32; write cast(i as string)"),
        ("i like 'a'", "0: like needs string, found int64; write cast(i as string)"),
        ("filter(tags, 1)", "13: filter needs a lambda here; write filter(list, x -> condition)"),
        ("filter(i, x -> true)", "7: filter takes a list, found int64"),
        ("filter(tags, x -> 1)", "18: the lambda of filter must give bool, found int64"),
        ("filter(tags, (a, b, c) -> true)", "13: a lambda has one parameter, or two: the element and its position"),
        (
            "regexp_like(s, '(')",
            "15: the regular expression does not compile: missing ): (; the syntax is RE2's: no look-around, no back-references"
        ), ("regexp_extract(s, '(a)', 2)", "25: the pattern has 1 groups, not 2"),
        (
            "regexp_like(s, 'a', 'x')",
            "20: unknown flag 'x'; flags are g (all), i (ignore case), m (lines), s (. matches line breaks)"
        ),
        ("date_trunc('houre', ts)", "11: unknown unit of time 'houre'; did you mean \"hour\"?"),
        ("date_trunc(s, ts)", "11: the unit must be a constant text"),
        ("extract(yeer from ts)", "8: unknown part of a time 'yeer'; did you mean \"year\"?"),
        (
            "strftime(ts, '%Q')",
            "13: unknown field %Q in the format; fields are %Y %y %m %b %B %d %e %j %H %I %p %M %S %f %L %a %A %u %w %V %G %s %z %% %F %T"
        ),
        (
            "date_bin(interval '1 month', ts)",
            "9: date_bin needs an interval without months; write interval '15 minutes'"
        ),
        (
            "contains(items, i)",
            "9: contains needs a list of plain values, found list<struct<name string, price float64>>"
        ), ("list_sum(tags)", "9: list_sum needs a list of numbers, found list<string>"),
        ("length(tags)", "7: length is for texts; write size(list)"),
        ("size(s)", "5: size is for lists; write length(text)"),
        (
            "lower(i) = s and j > s",
            "6: argument 1 of lower must be string, found int64; write cast(i as string)\n21: cannot compare int32 with string; write cast(s as int32)"
        ),
        (
            "d * d * d * d * d * d * d * d * d * d * d * d * d * d * d * d * d * d * d * d",
            "0: decimal(38,38) * decimal(10,2) needs more than the 38 digits of a decimal; cast one side to a decimal with fewer digits behind the point"
        ),
    ]

    @Test(arguments: table.indices)
    func `a wrong expression names what is wrong, where, and what to do`(index: Int) {
        let (text, expected) = ErrorTableTests.table[index]
        #expect(Sample.errors(text) == expected, "\(text)")
    }

    @Test func `errors stand inside their text`() {
        for (text, _) in ErrorTableTests.table {
            do throws(ExpressionErrors) { _ = try Expression.parse(text).check(Sample.schema) } catch {
                for problem in error.errors {
                    #expect(problem.offset >= 0 && problem.offset + problem.length <= text.utf8.count + 1, "\(text)")
                }
            }
        }
    }

    @Test func `deep and long texts are refused instead of exhausting the stack`() {
        let brackets = String(repeating: "(", count: 10000) + "1" + String(repeating: ")", count: 10000)
        let chain = Array(repeating: "i = 1", count: 10000).joined(separator: " or ")
        let nots = String(repeating: "not ", count: 10000) + "b"
        let signs = String(repeating: "- ", count: 10000) + "i"
        let calls = String(repeating: "lower(", count: 10000) + "s" + String(repeating: ")", count: 10000)
        let lists = String(repeating: "list<", count: 10000) + "string"
        for text in [brackets, chain, nots, signs, calls, "s::" + lists] {
            #expect(throws: ExpressionErrors.self) { try Expression.parse(text) }
        }
        #expect(Sample.errors(Array(repeating: "i = 1", count: 300).joined(separator: " or ")) == "no error, type bool")
    }
}

@Suite struct TypeAndAggregateParsingTests {
    @Test(arguments: [
        "bool", "int32", "int64", "float32", "float64", "decimal(12,2)", "string", "bytes", "timestamp", "date",
        "list<string>",
        "list<struct<lang string, text string>>", "struct<a int64, b list<list<decimal(38,38)>>>",
    ])
    func `a type is read as it is written`(text: String) throws {
        #expect(try DataType.parse(text).description == text)
        #expect(try DataType.parse(text).sql == text)
    }

    @Test(arguments: [
        ("strng", "0: unknown type \"strng\"; did you mean \"string\"?"),
        ("integer", "0: unknown type \"integer\"; write int32"), ("text", "0: unknown type \"text\"; write string"),
        ("list<text>", "5: unknown type \"text\"; write string"),
        ("list<string", "11: \">\" is expected to close list<…, found the end of the expression"),
        ("struct<a>", "8: the type of the member \"a\" is expected here, found \">\""),
        ("struct<a string, a int64>", "17: the struct has two members named \"a\""),
        ("string string", "7: the type should end here, found \"string\""),
        (
            "",
            "0: a type is expected here, found the end of the expression; types are bool, int32, int64, float32, float64, decimal(precision,scale), string, bytes, timestamp, date, list<type>, struct<name type, …>"
        ),
        ("decimal(5", "9: \")\" is expected to close decimal(…, found the end of the expression"),
    ])
    func `a wrong type names what is wrong and where`(text: String, expected: String) {
        let errors = #expect(throws: ExpressionErrors.self) { try DataType.parse(text) }
        #expect(errors?.description == expected)
    }

    @Test func `names of members are quoted where they need it`() throws {
        let type = DataType.structure([Field("the name", .string), Field("case", .int64)])
        #expect(type.sql == "struct<\"the name\" string, \"case\" int64>")
        #expect(try DataType.parse(type.sql) == type)
    }

    @Test func `a closing bracket of a type may touch an equals sign`() throws {
        #expect(try Expression.parse("x::list<int64>=y").description == "cast(x as list<int64>) = y")
    }

    @Test func `aggregates keep their parts and offsets`() throws {
        let call = try AggregateCall.parse("  SUM(price * 2) filter (where country = 'DE')")
        #expect(call.name == "sum" && !call.distinct && !call.star && call.offset == 2 && call.length == 3)
        #expect(call.arguments.map(\.description) == ["price * 2"])
        #expect(call.filter?.description == "country = 'DE'")
        #expect(call.description == "sum(price * 2) filter (where country = 'DE')")
        #expect(try AggregateCall.parse("count(*)").star)
        #expect(try AggregateCall.parse("count(distinct user_id)").distinct)
        #expect(try AggregateCall.parse("approx_quantile(price, 0.99)").arguments.count == 2)
    }

    @Test func `the arguments of an aggregate may have an order`() throws {
        let text = "string_agg(name, ', ' order by lower(name) desc nulls first, id) filter (where id > 1)"
        let call = try AggregateCall.parse(text)
        #expect(call.arguments.count == 2 && call.order.map(\.descending) == [true, false])
        #expect(call.order[1].expression.offset == 61)
        #expect(call.description == text)
        #expect(try AggregateCall.parse(call.description) == call)
        let other = try AggregateCall.parse("collect_list(a order by a)")
        #expect(try AggregateCall.parse("collect_list(a)") != other)
    }

    @Test(arguments: [
        ("count", "0: an aggregate like count(*) or sum(x) is expected here, found \"count\""),
        (
            "sum(x) / 2",
            "7: the aggregate should end here, found \"/\"; compute with results of aggregates in a select node behind this one"
        ),
        ("sum(x) filter (x > 1)", "15: \"where\" is expected behind \"filter (\", found \"x\""),
        ("collect_list(x order y)", "21: \"by\" is expected behind \"order\", found \"y\""),
        ("collect_list(x order by y", "25: \")\" is expected behind the order, found the end of the expression"),
        ("sum(x", "5: \",\" is expected or \")\", found the end of the expression"),
    ])
    func `a wrong aggregate names what is wrong and where`(text: String, expected: String) {
        let errors = #expect(throws: ExpressionErrors.self) { try AggregateCall.parse(text) }
        #expect(errors?.description == expected)
    }

    @Test func `order items have a direction and a place for nulls`() throws {
        let plain = try OrderItem.parse("sugar")
        #expect(!plain.descending && !plain.nullsFirst)
        let full = try OrderItem.parse("sugar * 2 DESC NULLS FIRST")
        #expect(full.descending && full.nullsFirst && full.description == "sugar * 2 desc nulls first")
        #expect(try OrderItem.parse("sugar asc nulls last") == plain)
        let errors = #expect(throws: ExpressionErrors.self) { try OrderItem.parse("a, b") }
        #expect(errors?.errors[0].offset == 1)
    }
}
