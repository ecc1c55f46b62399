import DataflowConfig
import DataflowOperator
import Testing

@testable import HTTPSource

/// `{ url: …, … }` with plain scalars.
private func node(_ entries: (String, ConfigNode)...) -> ConfigNode { .mapping(entries) }

private func messages(_ node: ConfigNode) -> [String] {
    do throws(ConfigError) {
        _ = try HTTPSourceConfig.schema.decode(node)
        return []
    } catch {
        return error.diagnostics.map { "\($0.path ?? ""): \($0.message)" }
    }
}

@Suite struct HTTPSourceConfigTests {
    private let url = ("url", ConfigNode.text("http://x/rows"))

    @Test func `the settings of the flagship pipeline are read`() throws {
        let offset = node(
            ("param", .text("offset")), ("limit_param", .text("length")), ("limit", .text("100")),
            ("until", .text("3808300")), ("items", .text("$.rows")), ("total", .text("$.num_rows_total")))
        let config = try HTTPSourceConfig.schema.decode(
            node(
                url, ("query", node(("dataset", .text("openfoodfacts/product-database")))),
                ("paginate", node(("offset", offset))), ("rate_limit", .text("30/min"))))
        guard case .offset(let pagination) = config.pagination else {
            Issue.record("no offsets")
            return
        }
        #expect(pagination.until == 3_808_300)
        #expect(pagination.items?.steps == [.member("rows")])
        #expect(config.rateLimit?.interval == .seconds(2))
        #expect(
            try HTTPSource.outputs(config, inputs: []).first?.schema.names == [
                "value", "url", "offset", "status", "fetched_at", "revision",
            ])
    }

    @Test func `mistakes are found without any request`() {
        #expect(messages(node(("url", .text("rows")))).first?.contains("http:// or https://") == true)
        let withUser = messages(node(("url", .text("http://u:p@x/")))).first
        #expect(withUser?.contains("`url` must not carry a user or password") == true)
        #expect(messages(node(url, ("concurrency", .text("3")))).first?.contains("needs `paginate.offset`") == true)
        #expect(messages(node(url, ("headers", node(("bad name", .text("x")))))).first?.contains("bad name") == true)
        #expect(messages(node(url, ("paginate", node()))).isEmpty == false)
        #expect(messages(node(url, ("poll", .text("0s")))).first?.contains("longer than zero") == true)
        #expect(
            messages(node(url, ("retry", node(("statuses", ConfigNode(.sequence([.text("6xx")]))))))).isEmpty == false)
        let page = node(("page", node(("items", .text("rows")))))
        #expect(messages(node(url, ("paginate", page))).first?.contains("a path such as") == true)
        let twice = node(("page", node(("until", .text("3")))))
        #expect(
            messages(node(url, ("query", node(("page", .text("1")))), ("paginate", twice))).first?.contains(
                "set by `paginate`")
                == true)
        let endless = node(("offset", node(("param", .text("o")))))
        #expect(messages(node(url, ("paginate", endless))).isEmpty == false)
    }

    @Test func `secrets are not in what is printed`() throws {
        let config = try HTTPSourceConfig.schema.decode(
            node(url, ("auth", node(("bearer", .text("hunter2")))), ("secret_query", node(("k", .text("hunter2"))))))
        #expect(!"\(HTTPSourceConfig.schema.encode(config))".contains("hunter2"))
        #expect(!"\(config)".contains("hunter2"))
    }
}
