import DataflowCodec
import DataflowColumnar
import DataflowConfig
import Testing

@Suite struct ColumnTypeTests {
    @Test(arguments: [
        DataType.bool, .int32, .decimal(precision: 38, scale: 0), .list(.list(.string)),
        .structure([Field("a", .string), Field("b", .list(.structure([Field("c", .date)])))]),
    ])
    func `a type's description reads back`(type: DataType) throws {
        #expect(try ColumnType(decoding: .text("\(type)")).type == type)
    }

    @Test func `struct members may have digits and quoted names`() throws {
        let type = try ColumnType(decoding: .text(#"struct< 100g float64, "per 100 g" int64 >"#)).type
        #expect(type == .structure([Field("100g", .float64), Field("per 100 g", .int64)]))
    }

    @Test(arguments: [
        ("strin", "there is no type `strin`"), ("list<", "a type was expected"), ("list<string", "`>` was expected"),
        ("struct<a>", "a type was expected"), ("decimal(39,2)", "a decimal has 1 to 38 digits"),
        ("int64 x", "nothing was expected behind the type `int64`"),
        ("struct<a int64, a int64>", "the struct has two members `a`"),
    ])
    func `a malformed type says what is wrong`(text: String, message: String) {
        let error = #expect(throws: ConfigError.self) { try ColumnType(decoding: .text(text)) }
        #expect(error?.description.contains(message) == true)
    }
}
