import DataflowColumnar
import Testing

@testable import DataflowExpression

@Suite struct FunctionExampleTests {
    static let examples = Function.all.flatMap { function in function.examples.map { ($0.call, $0.value) } }

    @Test(arguments: examples)
    func `each example of the reference page has the value that the page says`(call: String, value: String) throws {
        let schema = Schema([])
        let batch = RecordBatch(schema, [], rowCount: 1)
        let typed = try Expression.parse(call).check(schema)
        let expected = try Expression.parse(value == "null" ? "cast(null as \(typed.type.sql))" : value).check(schema)
        let (column, errors) = typed.compiled().evaluate(batch)
        #expect(errors.isEmpty)
        #expect(column.value(at: 0) == expected.compiled().evaluate(batch).column.value(at: 0), "\(call)")
        #expect(typed.type == expected.type || value.contains("null"), "\(call) has the type \(typed.type)")
    }

    @Test func `function names are unique and lower case`() {
        #expect(Function.named.count == Function.all.count)
        #expect(Function.all.allSatisfy { $0.name == $0.name.lowercased() })
        for name in Function.synonyms.keys { #expect(Function.named[name] == nil) }
        for name in Function.synonyms.values { #expect(Function.named[name] != nil) }
        for name in Function.otherNames.keys { #expect(Function.named[name] == nil, "\(name)") }
        for function in Function.all where function.name != "now" {
            #expect(!function.examples.isEmpty, "\(function.name)")
        }
    }
}
