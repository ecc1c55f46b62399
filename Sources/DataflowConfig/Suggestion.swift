/// Did-you-mean: the nearest of the known words.
public enum Suggestion {
    /// The candidate that is most like the word, if it is like enough to be what was meant: within a third of its length in
    /// edits (a swap of neighbours counts once), or the same but for case and `-` and `_`.
    public static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let wanted = normalised(word)
        let limit = (wanted.count + 2) / 3 - (wanted.count < 2 ? 1 : 0)
        var best: (distance: Int, candidate: String)?
        for candidate in candidates {
            let other = normalised(candidate)
            var distance = editDistance(wanted, other)
            if distance > limit, wanted.count >= 4, other.starts(with: wanted) || wanted.starts(with: other) {
                distance = limit
            }
            if distance <= limit, distance < best?.distance ?? .max { best = (distance, candidate) }
        }
        return best?.candidate
    }

    /// ", did you mean `x`?" or nothing: to end a message with.
    public static func phrase(for word: String, among candidates: some Sequence<String>) -> String {
        nearest(to: word, among: candidates).map { ", did you mean `\($0)`?" } ?? ""
    }

    private static func normalised(_ word: String) -> [Character] {
        word.lowercased().map { $0 == "-" ? "_" : $0 }
    }

    /// Damerau–Levenshtein distance of neighbours swapped at most once (optimal string alignment). Cost: O(n · m).
    static func editDistance(_ a: [Character], _ b: [Character]) -> Int {
        if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in 1...a.count {
            var row = [i] + [Int](repeating: 0, count: b.count)
            for j in 1...b.count {
                let same = a[i - 1] == b[j - 1]
                row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1))
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    row[j] = min(row[j], beforeLast[j - 2] + 1)
                }
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
