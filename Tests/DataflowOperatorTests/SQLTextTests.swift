import DataflowConfig
import DataflowExpression
import DataflowOperator
import Testing

@Suite struct SQLTextTests {
    @Test func `a syntax error stands at its character in the file`() throws {
        let node = ConfigNode.text("a + * b", mark: Mark(file: "p.yaml", line: 7, column: 12))
        #expect {
            _ = try ExpressionText(decoding: node)
        } throws: { error in
            let diagnostic = (error as? ConfigError)?.diagnostics.first
            return diagnostic?.mark.line == 7 && diagnostic?.code == "expression"
        }
    }

    @Test func `a mapping is no expression`() {
        #expect(throws: ConfigError.self) { _ = try ExpressionText(decoding: .mapping([("a", .text("b"))])) }
    }
}
