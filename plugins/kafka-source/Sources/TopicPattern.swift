import Glibc

/// A regular expression for names of topics, as librdkafka reads one: POSIX extended, found anywhere unless anchored.
final class TopicPattern {
    struct Malformed: Error {
        var reason: String
    }

    private var expression = regex_t()

    init(_ pattern: String) throws(Malformed) {
        let code = regcomp(&expression, pattern, REG_EXTENDED | REG_NOSUB)
        guard code == 0 else {
            var text = [CChar](repeating: 0, count: 256)
            regerror(code, &expression, &text, text.count)
            throw Malformed(
                reason: String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
        }
    }

    deinit { regfree(&expression) }

    func matches(_ name: String) -> Bool { regexec(&expression, name, 0, nil, 0) == 0 }
}

/// Which topics are read: names, and patterns for names.
struct TopicSelection {
    let names: [String]
    private let patterns: [TopicPattern]

    /// - Parameter topics: those that begin with `^` are patterns.
    init(_ topics: [String]) throws(TopicPattern.Malformed) {
        names = topics.filter { !$0.hasPrefix("^") }
        var patterns: [TopicPattern] = []
        for topic in topics where topic.hasPrefix("^") { patterns.append(try TopicPattern(topic)) }
        self.patterns = patterns
    }

    /// Whether all topics of the cluster must be looked at.
    var hasPatterns: Bool { !patterns.isEmpty }

    func isNamed(_ topic: String) -> Bool { names.contains(topic) }

    /// Kafka's own topics (`__consumer_offsets`) are read only where they are named.
    func contains(_ topic: String) -> Bool {
        isNamed(topic) || (!topic.hasPrefix("__") && patterns.contains { $0.matches(topic) })
    }
}
