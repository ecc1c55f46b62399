/// Finds what the user may have meant.
enum Suggestion {
    /// The candidate closest to `name`, if one is close enough; letter case counts as no difference.
    static func closest(to name: String, among candidates: some Sequence<String>) -> String? {
        let wanted = Array(name.lowercased().unicodeScalars)
        let limit = max(1, wanted.count / 3)
        var best: (distance: Int, candidate: String)?
        for candidate in candidates {
            let distance = editDistance(wanted, Array(candidate.lowercased().unicodeScalars), limit: limit)
            if distance <= limit, best.map({ distance < $0.distance }) ?? true { best = (distance, candidate) }
        }
        return best?.candidate
    }

    /// `did you mean "x"?`, or the fallback.
    static func hint(for name: String, among candidates: some Sequence<String>, otherwise: String? = nil) -> String? {
        closest(to: name, among: candidates).map { "did you mean \"\($0)\"?" } ?? otherwise
    }

    /// Optimal string alignment distance (Levenshtein with swaps of neighbours); more than `limit` is `limit + 1`.
    private static func editDistance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar], limit: Int) -> Int {
        if abs(a.count - b.count) > limit { return limit + 1 }
        var twoBefore: [Int] = []
        var before = Array(0...b.count)
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var cost = min(before[j + 1] + 1, row[j] + 1, before[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, twoBefore[j - 1] + 1) }
                row.append(cost)
            }
            twoBefore = before
            before = row
        }
        return before[b.count]
    }
}
