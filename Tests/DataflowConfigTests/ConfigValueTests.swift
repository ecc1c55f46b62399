import DataflowConfig
import Testing

private func scalar(_ text: String, _ style: Scalar.Style = .plain) -> ConfigNode {
    ConfigNode(.scalar(Scalar(text, style: style)), mark: Mark(file: "p.yaml", line: 3, column: 7))
}

private func problem<T: ConfigValue>(_ type: T.Type, _ node: ConfigNode) -> String {
    do throws(ConfigError) {
        _ = try T(decoding: node)
        return ""
    } catch {
        let first = error.diagnostics[0]
        return first.rendered(.short) + (first.hint.map { " | \($0)" } ?? "")
    }
}

@Suite struct ConfigValueTests {
    @Test(
        arguments: [
            ("10s", 10_000_000_000), ("500ms", 500_000_000), ("1h30m", 5_400_000_000_000), ("1.5s", 1_500_000_000),
            ("2d", 172_800_000_000_000),
            ("0s", 0), ("3us", 3_000), ("1m 30s", 90_000_000_000), ("7ns", 7), ("0.1ms", 100_000),
        ] as [(String, Int64)])
    func `a duration carries its unit`(_ text: String, _ nanoseconds: Int64) throws {
        let duration = try Duration(decoding: scalar(text))
        #expect(duration.nanoseconds == nanoseconds)
        #expect(try Duration(decoding: duration.encoded) == duration)
    }

    @Test func `a bare number is no duration and the error says so`() {
        #expect(
            problem(Duration.self, scalar("10"))
                == "p.yaml:3:7: error: expected a duration with its unit, such as `10s` or `500ms`, found `10`"
                + " | a bare number has no unit: `10s` is seconds, `10ms` milliseconds")
        #expect(
            problem(Duration.self, scalar("10 parsecs")).hasSuffix(
                "`parsecs` is no unit of time: ns, us, ms, s, m, h, d"))
        #expect(problem(Duration.self, scalar("-1s")).hasSuffix("found `-1s` | it must not be negative"))
        #expect(problem(Duration.self, scalar("9999999d")).contains("292 years"))
        #expect(problem(Duration.self, scalar("1h30")).contains("found `1h30`"))
        #expect(problem(Duration.self, scalar("")).contains("found nothing"))
    }

    @Test(arguments: [("64MiB", 64 << 20), ("1kB", 1000), ("512B", 512), ("1.5KiB", 1536), ("2GiB", 2 << 30)])
    func `a byte size carries its unit`(_ text: String, _ bytes: Int) throws {
        let size = try ByteSize(decoding: scalar(text))
        #expect(size.bytes == bytes)
        #expect(try ByteSize(decoding: size.encoded) == size)
    }

    @Test func `a misspelt unit of size is corrected`() {
        #expect(problem(ByteSize.self, scalar("64mib")).hasSuffix("`mib` is no unit of size; did you mean `MiB`?"))
        #expect(problem(ByteSize.self, scalar("64")).hasSuffix("`64B` is bytes, `64MiB` mebibytes"))
    }

    @Test(arguments: [
        (0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1536, "1.5KiB"), (10_240, "10KiB"), (312 << 20 | 9, "312MiB"),
        (1 << 30 | 200 << 20, "1.1GiB"), (4_800_000_000, "4.4GiB"), (3 << 40, "3TiB"),
    ])
    func `a size is rounded for people`(bytes: Int, text: String) {
        #expect(ByteSize(bytes: bytes).roundedDescription == text)
    }

    @Test func `a duration is rounded to the millisecond for messages`() {
        #expect(Duration.seconds(0.056184247900774066).roundedDescription == "56ms")
        #expect(Duration.seconds(6).roundedDescription == "6s")
        #expect(Duration.microseconds(6_156_789).roundedDescription == "6s156ms")
        #expect(Duration.microseconds(900).roundedDescription == "0s")
    }

    @Test func `a rate is a count in a time`() throws {
        #expect(try Rate(decoding: scalar("30/min")).interval == .seconds(2))
        #expect(try Rate(decoding: scalar("5/s")) == Rate(5, per: .seconds(1)))
        #expect(try Rate(decoding: scalar("10 / 30s")).description == "10/30s")
        #expect(try Rate(decoding: scalar("90/hour")).description == "90/h")
        #expect(problem(Rate.self, scalar("30")).contains("`30/s` is events a second"))
        #expect(problem(Rate.self, scalar("0/s")).contains("found `0/s`"))
        #expect(problem(Rate.self, scalar("3/moon")).contains("`moon` is no unit of time"))
    }

    @Test func `numbers are plain scalars`() throws {
        #expect(try Int(decoding: scalar("3_808_300")) == 3_808_300)
        #expect(try Int(decoding: scalar("-4")) == -4)
        #expect(try Double(decoding: scalar("2.5e3")) == 2500)
        #expect(problem(Int.self, scalar("abc")) == "p.yaml:3:7: error: expected an integer, found `abc`")
        #expect(problem(Int.self, scalar("4", .doubleQuoted)).contains("leave the quotes out"))
        #expect(problem(Int.self, scalar("99999999999999999999")).contains("at most 64 bits"))
        #expect(problem(Double.self, scalar("nan")).contains("expected a number"))
        #expect(problem(Int.self, ConfigNode(.sequence([]))).contains("found a list"))
    }

    @Test func `an interpolated number may be quoted`() throws {
        let parts = [Scalar.Part.value("100", name: "BATCH", isPublic: false, offset: 0)]
        let node = ConfigNode(.scalar(Scalar(written: "${BATCH}", style: .doubleQuoted, parts: parts)))
        #expect(try Int(decoding: node) == 100)
    }

    @Test func `a value from the environment is never shown`() {
        let parts = [
            Scalar.Part.written("a-", offset: 0), .value("hunter2", name: "PW", isPublic: false, offset: 2),
        ]
        let node = ConfigNode(.scalar(Scalar(written: "a-${PW}", style: .plain, parts: parts)))
        #expect(
            problem(Int.self, node)
                == "error: expected an integer, found `a-${PW}` | look at the value of ${PW}, which is not shown here")
    }

    @Test func `booleans are true and false`() throws {
        #expect(try Bool(decoding: scalar("true")))
        #expect(problem(Bool.self, scalar("yes")).hasSuffix("| write `true`"))
    }

    @Test func `a text may look like anything`() throws {
        #expect(try String(decoding: scalar("1.0")) == "1.0")
        #expect(problem(String.self, scalar("~")).contains("found nothing"))
        #expect(try Optional<String>(decoding: scalar("null")) == nil)
    }

    enum StartAt: String, ConfigEnum { case earliest, latest, timestamp }

    @Test func `a word that is not of the set is corrected`() throws {
        #expect(try StartAt(decoding: scalar("latest")) == .latest)
        #expect(
            problem(StartAt.self, scalar("erliest"))
                == "p.yaml:3:7: error: expected one of `earliest`, `latest`, `timestamp`, found `erliest` | did you mean `earliest`?"
        )
    }

    @Test func `a secret is never printed`() throws {
        let secret = try Secret(decoding: scalar("hunter2"))
        #expect("\(secret)" == "***")
        #expect(String(reflecting: secret) == "***")
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(!dumped.contains("hunter2"))
        #expect(secret.revealed == "hunter2")
        #expect(secret.encoded.plainDescription == "***")
    }

    @Test func `every element's error is reported`() {
        let node = ConfigNode(.sequence([scalar("1"), scalar("x"), scalar("2"), scalar("y")]))
        do throws(ConfigError) {
            _ = try [Int](decoding: node)
            Issue.record("accepted")
        } catch {
            #expect(error.diagnostics.map(\.path) == ["[1]", "[3]"])
        }
    }

    @Test func `a scalar where a list is wanted shows how to write it`() {
        #expect(problem([String].self, scalar("a")).hasSuffix("write it as a list: `[a]`"))
        #expect(throws: Never.self) { try OneOrMany<String>(decoding: scalar("a")).elements == ["a"] }
    }

    @Test func `a map keeps its order`() throws {
        let node = ConfigNode.mapping([("z", .text("1")), ("a", .text("2"))])
        let map = try ConfigMap<Int>(decoding: node)
        #expect(map.keys == ["z", "a"])
        #expect(map["a"] == 2)
    }
}

@Suite struct SuggestionTests {
    @Test(arguments: [
        ("ratelimit", "rate_limit"), ("rate-limit", "rate_limit"), ("tpye", "type"), ("form", "from"),
        ("conection", "connection"),
    ])
    func `a slip finds its word`(_ word: String, _ expected: String) {
        #expect(Suggestion.nearest(to: word, among: ["type", "from", "rate_limit", "connection", "url"]) == expected)
    }

    @Test func `an unrelated word finds none`() {
        #expect(Suggestion.nearest(to: "banana", among: ["type", "from", "rate_limit"]) == nil)
    }
}

@Suite struct SecretMaskTests {
    @Test(arguments: [
        ("  connection: postgresql://u:pw@h/db", "  connection: postgresql://u:***@h/db"),
        ("  password: hunter2", "  password: ***"), ("  bearer_token: abc", "  bearer_token: ***"),
        ("  password: ${PW}", "  password: ${PW}"), ("  url: https://h/x?a=b:c@d", "  url: https://h/x?a=b:c@d"),
        ("auth: { user: a, password: b }", "auth: { user: a, password: ***"),
        ("  tokens_per_page: lots", "  tokens_per_page: ***"),
        ("  url: https://u:p@a, https://v:q@b", "  url: https://u:***@a, https://v:***@b"),
    ])
    func `what looks like a secret is masked in a shown line`(_ line: String, _ expected: String) {
        #expect(SecretMask.masked(line) == expected)
    }
}

@Suite struct DiagnosticRenderingTests {
    @Test func `control characters of the file do not reach the terminal`() {
        let source = SourceFile(path: "p.yaml", text: "a: \u{1B}[2Jb\u{9B}c")
        let finding = Diagnostic(
            .error, "x", "found `\u{1B}]0;title\u{7}`", at: Mark(source: source, line: 1, column: 4), hint: "\u{7F}")
        let text = finding.rendered(.human)
        #expect(text.unicodeScalars.allSatisfy { $0 == "\n" || $0.properties.generalCategory != .control })
        #expect(text.contains("a: \u{FFFD}[2Jb\u{FFFD}c"))
    }

    @Test func `a line of megabytes is not shown, which would take seconds`() {
        let source = SourceFile(path: "p.yaml", text: "password: " + String(repeating: "x", count: 4 << 20))
        let finding = Diagnostic(.error, "x", "too long", at: Mark(source: source, line: 1, column: 1))
        #expect(finding.rendered(.human) == "p.yaml:1:1: error: too long")
    }
}
